//! The files of one commit, from its repository and those of its submodules. Each repository has a mirror; those of submodules belong
//! to the mirror of the repository that is checked out, so that two checkouts never wait for each other's mirrors. Where only some
//! directories are selected, the mirror has no files but those that were read, if the server can leave them out.

use std::{
    cell::Cell,
    collections::{BTreeMap, BTreeSet},
};

use gix::ObjectId;
use plumb_filetree::RelPath;

use crate::{
    bounds::Bounds,
    connection::{Connection, Connector, Extent, has_object},
    credential::Endpoint,
    error::GitError,
    mirror::Mirror,
    reference::Found,
    sparse::SparseCheckout,
    submodule::{SubmoduleError, absolute, declared},
    task::{Inner, Selection, not_handed_out},
    tree::{Gitlink, Reader, Subject},
};

/// Objects in one request: its body is smaller than what the transport sends.
const WANTS_MAX: usize = 10_000;

/// Who checks out, and what with.
#[derive(Clone, Copy)]
pub(crate) struct Operation<'a> {
    pub(crate) git: &'a Inner,
    pub(crate) consumer: &'a str,
    pub(crate) connector: &'a Connector,
    pub(crate) bounds: &'a Bounds,
    /// Bytes of one object.
    pub(crate) object_bytes_max: u64,
}

/// What becomes of the files that were found. The repositories are those of the checkout.
pub(crate) type Finish<'a, T> = dyn FnMut(Reader<'_>, &[&gix::Repository]) -> Result<T, GitError> + 'a;

/// The repositories of one checkout.
pub(crate) struct Assembly<'a> {
    operation: Operation<'a>,
    root: &'a Endpoint,
    sparse: Option<SparseCheckout>,
    /// Whether mirrors are emptied first.
    discard: bool,
    /// Noted when a mirror had content before.
    had_content: &'a Cell<bool>,
    /// The first one is that which is checked out.
    opened: Vec<Opened>,
}

struct Opened {
    endpoint: Endpoint,
    bounds: Bounds,
    mirror: Mirror,
    connection: Option<Connection>,
    repository: gix::Repository,
}

/// A tree that is to be read.
struct Pending {
    repository: usize,
    tree: ObjectId,
    path: RelPath,
    /// How many submodules it is in.
    depth: usize,
}

impl<'a> Assembly<'a> {
    pub(crate) fn new(
        operation: Operation<'a>,
        root: &'a Endpoint,
        selection: &Selection,
        discard: bool,
        had_content: &'a Cell<bool>,
    ) -> Self {
        let sparse = SparseCheckout::new(&selection.sparse_checkout);
        Self { operation, root, sparse, discard, had_content, opened: Vec::new() }
    }

    /// Finds the files of a commit, and passes them on. `connection` is one to its repository, if one is open.
    pub(crate) fn assemble<T>(
        mut self,
        found: &Found,
        connection: Option<Connection>,
        selection: &Selection,
        finish: &mut Finish<'_, T>,
    ) -> Result<(Subject, T), GitError> {
        let Operation { git, consumer, bounds, object_bytes_max, .. } = self.operation;
        let sparse = self.sparse.clone();
        let memory = git.resources.memory.reservation(consumer, git.files_limit());
        let limits = git.limits.tree;
        let mut reader = Reader::new(bounds, found.commit, limits, memory, object_bytes_max, sparse.as_ref());
        let root = self.obtain(self.root.clone(), found, connection)?;
        let (subject, tree) = reader.commit(self.repository(root)?, found)?;
        let mut pending = vec![Pending { repository: root, tree, path: RelPath::root(), depth: 0 }];
        let mut submodules = 0;
        while let Some(next) = pending.pop() {
            let walked =
                reader.walk(self.repository(next.repository)?, next.repository, next.tree, &next.path)?;
            let (false, Some(modules), true) =
                (walked.links.is_empty(), walked.modules, selection.recurse_submodules)
            else {
                continue;
            };
            self.complete(&[(next.repository, modules)])?;
            let file = reader.modules(self.repository(next.repository)?, modules)?;
            let declared =
                declared(&file).map_err(|source| GitError::Submodule { path: next.path.clone(), source })?;
            for link in walked.links {
                let Some(url) = url_of(&link, &next.path, &declared) else { continue };
                submodules += 1;
                let failed = |source| GitError::Submodule { path: link.path.clone(), source };
                let submodule = self.submodule(&link, url, &next, submodules, &reader).map_err(failed)?;
                reader.directory(&link, submodule.repository);
                pending.push(submodule);
            }
        }
        reader.must_exist()?;
        if !selection.with_ignored {
            self.complete(&reader.ignore_files())?;
            reader.leave_out_ignored(&self.repositories(), selection.ignore.as_deref())?;
        }
        let files: Vec<_> = if self.sparse.is_some() { reader.files().collect() } else { Vec::new() };
        self.complete(&files)?;
        Ok((subject, finish(reader, &self.repositories())?))
    }

    /// Fetches the commit of a submodule.
    fn submodule(
        &mut self,
        link: &Gitlink,
        url: &str,
        parent: &Pending,
        number: usize,
        reader: &Reader<'_>,
    ) -> Result<Pending, SubmoduleError> {
        let limits = self.operation.git.limits;
        let depth = parent.depth + 1;
        if depth > limits.submodule_depth_max {
            return Err(SubmoduleError::TooDeep { max: limits.submodule_depth_max });
        }
        if number > limits.submodules_max {
            return Err(SubmoduleError::TooMany { max: limits.submodules_max });
        }
        let boxed = |error| SubmoduleError::Git(Box::new(error));
        let base = self.opened.get(parent.repository).map_or(self.root, |opened| &opened.endpoint);
        let endpoint = self.root.submodule(&absolute(url, base.url())?)?;
        let found = Found::commit(link.commit);
        let repository = self.obtain(endpoint, &found, None);
        let repository = repository.map_err(|error| boxed(not_handed_out(error, &found)))?;
        let read = self.repository(repository).and_then(|opened| reader.commit(opened, &found));
        let (_, tree) = read.map_err(boxed)?;
        Ok(Pending { repository, tree, path: link.path.clone(), depth })
    }

    /// The number of the repository with a commit in it.
    fn obtain(
        &mut self,
        endpoint: Endpoint,
        found: &Found,
        connection: Option<Connection>,
    ) -> Result<usize, GitError> {
        let is_same = |opened: &Opened| opened.endpoint.url() == endpoint.url();
        if let Some(number) = self.opened.iter().position(is_same) {
            let Opened { endpoint, bounds, mirror, .. } = &self.opened[number];
            let (repository, connection) = self.fetch(endpoint, bounds, mirror, found, None)?;
            let opened = &mut self.opened[number];
            (opened.repository, opened.connection) = (repository, connection);
            return Ok(number);
        }
        let bounds = Bounds { url: endpoint.url().to_string(), ..self.operation.bounds.clone() };
        let mirror = self.hold(&endpoint, &bounds)?;
        let (repository, connection) = self.fetch(&endpoint, &bounds, &mirror, found, connection)?;
        self.opened.push(Opened { endpoint, bounds, mirror, connection, repository });
        Ok(self.opened.len() - 1)
    }

    /// The mirror of a repository, for this checkout alone.
    fn hold(&self, endpoint: &Endpoint, bounds: &Bounds) -> Result<Mirror, GitError> {
        let mirrors = &self.operation.git.mirrors;
        let mut name = mirrors.name(self.root, self.sparse.is_some());
        if !self.opened.is_empty() {
            name = format!("{name}.{}", endpoint.keyed_name(mirrors.key()));
        }
        let mirror = mirrors.hold(&name, bounds)?;
        if mirror.exists() {
            self.had_content.set(true);
        }
        if self.discard {
            mirror.discard()?;
        }
        mirror.touch()?;
        Ok(mirror)
    }

    /// The repository of a mirror with a commit in it, and the connection for further objects of it.
    fn fetch(
        &self,
        endpoint: &Endpoint,
        bounds: &Bounds,
        mirror: &Mirror,
        found: &Found,
        connection: Option<Connection>,
    ) -> Result<(gix::Repository, Option<Connection>), GitError> {
        let Operation { git, consumer, connector, object_bytes_max, .. } = self.operation;
        if connection.is_none()
            && let Some(there) = mirror.holding(found.commit, found.commit.kind(), object_bytes_max)
        {
            return Ok((there, None));
        }
        let mut connection = match connection {
            Some(connection) => connection,
            None => Connection::open(endpoint, connector, bounds)?,
        };
        let fetching = git.fetching(consumer, object_bytes_max, &mut connection, connector, bounds)?;
        let extent = if self.sparse.is_some() { Extent::Directories } else { Extent::Commit };
        let repository = mirror.obtain(found, extent, fetching)?;
        Ok((repository, self.sparse.is_some().then_some(connection)))
    }

    /// Fetches those of the files that a mirror without all files does not have.
    fn complete(&mut self, files: &[(usize, ObjectId)]) -> Result<(), GitError> {
        if self.sparse.is_none() {
            return Ok(());
        }
        let Operation { git, consumer, connector, object_bytes_max, .. } = self.operation;
        let mut missing: BTreeMap<usize, BTreeSet<ObjectId>> = BTreeMap::new();
        for (number, id) in files {
            if !has_object(self.repository(*number)?, *id) {
                missing.entry(*number).or_default().insert(*id);
            }
        }
        for (number, ids) in missing {
            let ids: Vec<ObjectId> = ids.into_iter().collect();
            let Some(opened) = self.opened.get_mut(number) else { continue };
            for wants in ids.chunks(WANTS_MAX) {
                let mut connection = match opened.connection.take() {
                    Some(connection) => connection,
                    None => Connection::open(&opened.endpoint, connector, &opened.bounds)?,
                };
                let fetching =
                    git.fetching(consumer, object_bytes_max, &mut connection, connector, &opened.bounds)?;
                opened.repository = opened.mirror.add(&opened.repository, wants, fetching)?;
                opened.connection = Some(connection);
            }
        }
        Ok(())
    }

    fn repository(&self, number: usize) -> Result<&gix::Repository, GitError> {
        let opened = self.opened.get(number).map(|opened| &opened.repository);
        opened.ok_or_else(|| self.operation.bounds.interrupted())
    }

    fn repositories(&self) -> Vec<&gix::Repository> {
        self.opened.iter().map(|opened| &opened.repository).collect()
    }
}

/// The URL that a repository at this path declares for a submodule; none where it declares none, as then nothing is known of it.
fn url_of<'a>(link: &Gitlink, root: &RelPath, declared: &'a BTreeMap<String, String>) -> Option<&'a str> {
    let path = link.path.as_str().strip_prefix(root.as_str())?.trim_start_matches('/');
    declared.get(path).map(String::as_str)
}
