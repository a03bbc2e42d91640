//! The XML of AWS and of object stores, read as paths of elements and their text. There are no document types, so no entities but the five
//! of XML, and no attributes but one that a caller asks for.

use quick_xml::{
    Reader,
    escape::resolve_xml_entity,
    events::{BytesRef, BytesStart, Event},
};

/// Elements within each other, at most.
const DEPTH_MAX: usize = 16;

/// The document is not XML of this kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// The end of an element.
pub struct Element<'a> {
    /// The names of the elements down to this one, without prefixes of namespaces.
    pub path: &'a [String],
    /// Its text.
    pub text: &'a str,
    /// Whether it has the attribute `Encoded="true"`.
    pub encoded: bool,
}

impl Element<'_> {
    /// Whether it is at this place below the root.
    pub fn is(&self, below_root: &[&str]) -> bool {
        self.path.len() == below_root.len() + 1 && self.path[1..].iter().eq(below_root)
    }
}

/// Reads a document. `visit` is given each element as it ends, and may end the reading.
pub fn read<E>(
    document: &[u8],
    malformed: impl Fn() -> E,
    mut visit: impl FnMut(&Element<'_>) -> Result<(), E>,
) -> Result<(), E> {
    let text = std::str::from_utf8(document).map_err(|_| malformed())?;
    let mut reader = Reader::from_str(text);
    let mut open = Open::default();
    let mut roots = 0;
    loop {
        match reader.read_event().map_err(|_| malformed())? {
            Event::Start(start) => {
                roots += usize::from(open.path.is_empty());
                open.push(&start).map_err(|Malformed| malformed())?;
            }
            Event::Empty(start) => {
                roots += usize::from(open.path.is_empty());
                open.push(&start).map_err(|Malformed| malformed())?;
                open.end(&mut visit)?;
            }
            Event::End(_) => open.end(&mut visit)?,
            Event::Text(part) => open.text(&part.xml10_content()),
            Event::CData(part) => open.text(&part.xml10_content()),
            Event::GeneralRef(reference) => {
                open.reference(&reference).map_err(|Malformed| malformed())?;
            }
            Event::Eof if open.path.is_empty() && roots == 1 => return Ok(()),
            Event::DocType(_) | Event::Eof => return Err(malformed()),
            Event::Decl(_) | Event::PI(_) | Event::Comment(_) => {}
        }
    }
}

/// The elements that have begun, and the text of each.
#[derive(Default)]
struct Open {
    path: Vec<String>,
    texts: Vec<(String, bool)>,
}

impl Open {
    fn push(&mut self, start: &BytesStart<'_>) -> Result<(), Malformed> {
        if self.path.len() == DEPTH_MAX {
            return Err(Malformed);
        }
        let mut encoded = false;
        for attribute in start.attributes() {
            let attribute = attribute.map_err(|_| Malformed)?;
            encoded |= attribute.key.as_ref() == "Encoded" && &*attribute.value == "true";
        }
        self.path.push(start.local_name().as_ref().to_owned());
        self.texts.push((String::new(), encoded));
        Ok(())
    }

    fn text(&mut self, part: &str) {
        if let Some((text, _)) = self.texts.last_mut() {
            text.push_str(part);
        }
    }

    fn reference(&mut self, reference: &BytesRef<'_>) -> Result<(), Malformed> {
        if let Some(character) = reference.resolve_char_ref().map_err(|_| Malformed)? {
            self.text(character.encode_utf8(&mut [0; 4]));
            return Ok(());
        }
        let text = resolve_xml_entity(&reference.xml10_content()).ok_or(Malformed)?;
        self.text(text);
        Ok(())
    }

    fn end<E>(&mut self, visit: &mut impl FnMut(&Element<'_>) -> Result<(), E>) -> Result<(), E> {
        let (text, encoded) = self.texts.pop().unwrap_or_default();
        let visited = visit(&Element { path: &self.path, text: &text, encoded });
        self.path.pop();
        visited
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leaves(document: &str) -> Result<Vec<String>, Malformed> {
        let mut found = Vec::new();
        read(
            document.as_bytes(),
            || Malformed,
            |element| {
                found.push(format!(
                    "{}={}{}",
                    element.path.join("/"),
                    element.text,
                    if element.encoded { "!" } else { "" }
                ));
                Ok(())
            },
        )?;
        Ok(found)
    }

    #[test]
    fn elements_are_read_with_their_text() {
        let document = "<?xml version=\"1.0\"?><s:r xmlns:s=\"x\"><a>1 &amp; &#x32;&lt;<!-- c --><![CDATA[<&]]></a><b Encoded=\"true\"/></s:r>";
        assert_eq!(leaves(document).unwrap(), ["r/a=1 & 2<<&", "r/b=!", "r="]);
    }

    #[test]
    fn what_is_not_whole_or_has_a_document_type_is_rejected() {
        let deep = "<a>".repeat(DEPTH_MAX + 1);
        for document in [
            "",
            "text",
            "<a>",
            "<a></b>",
            "<a/><b/>",
            "<a>&bomb;</a>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><a>&b;</a>",
            "<!DOCTYPE a><a/>",
            "<a b=\"1\" b=\"2\"/>",
            &deep,
        ] {
            assert_eq!(leaves(document), Err(Malformed), "{document}");
        }
        assert!(read(b"<a>\xff</a>", || Malformed, |_| Ok(())).is_err());
    }
}
