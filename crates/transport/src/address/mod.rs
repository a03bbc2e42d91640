//! Which addresses outgoing connections may go to. URLs come from tenants: without this check a source or a provider reads
//! the metadata service of the node with the network position of the controller. An address is checked twice: as a literal
//! in the URL ([`AddressPolicy::check_url`]), and as DNS resolves it, at the moment of the connection ([`CheckedResolver`]),
//! so that a response that changes between check and connection does not help. What is sent never enters.

mod class;
mod policy;
mod resolver;

pub use class::{AddressClass, UnknownAddressClass};
pub use policy::{AddressPolicy, RejectedAddress};
pub(crate) use resolver::resolve;
pub use resolver::{CheckedResolver, Unresolved};
