//! Reads types from a tree: serde's deserializer for [`Node`].
//!
//! It is stricter or more lenient than a YAML library's own:
//!
//! * a string field accepts any scalar as it was written, so `version: 1.10` is the text `1.10`;
//! * a number or boolean field accepts neither quotes nor YAML 1.1's `yes` and `on`;
//! * a field with the value null counts as not set;
//! * an unknown field is reported with the field that was probably meant.

use serde::de::value::StrDeserializer;
use serde::de::{self, Deserialize, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use serde::forward_to_deserialize_any;

use super::field_error::{FieldError, PathSegment};
use super::node::{MappingEntry, Node, NodeContent};
use super::scalar::PlainValue;

/// Reads a value from a tree.
///
/// # Errors
/// The first wrong type or unknown field.
pub fn read<'de, T: Deserialize<'de>>(node: &Node) -> Result<T, FieldError> {
    T::deserialize(Reader(node)).map_err(|mut fault| {
        fault.at = fault.at.or(node.position());
        fault
    })
}

/// The message for a tag.
const TAG: &str =
    "a value that begins with '!' is a tag, which a manifest cannot have; put such text in quotes";

struct Reader<'a>(&'a Node);

impl Reader<'_> {
    fn found_type(&self) -> Unexpected<'_> {
        match self.0.content() {
            NodeContent::Sequence(_) => Unexpected::Seq,
            NodeContent::Mapping(_) => Unexpected::Map,
            NodeContent::Scalar(scalar) => match scalar.to_foundry() {
                PlainValue::Null => Unexpected::Unit,
                PlainValue::Bool(value) => Unexpected::Bool(value),
                PlainValue::Whole(value) => Unexpected::Signed(value),
                PlainValue::Real(value) => Unexpected::Float(value),
                PlainValue::Text => Unexpected::Str(scalar.text()),
            },
        }
    }

    fn refuse_type<T>(&self, wanted: &str) -> Result<T, FieldError> {
        Err(de::Error::invalid_type(self.found_type(), &wanted))
    }

    fn refuse_tag(&self) -> Result<(), FieldError> {
        match self.0.tag() {
            // The tag is not quoted, because a password may begin with `!`.
            Some(_) => Err(FieldError::new(self.0.position(), TAG)),
            None => Ok(()),
        }
    }

    fn mapping_entries(&self) -> Result<&[MappingEntry], FieldError> {
        self.refuse_tag()?;
        self.0.as_mapping().map_or_else(|| self.refuse_type("a mapping"), |mapping| Ok(mapping.entries()))
    }
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = FieldError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.refuse_tag()?;
        match self.found_type() {
            Unexpected::Unit => visitor.visit_unit(),
            Unexpected::Bool(value) => visitor.visit_bool(value),
            Unexpected::Signed(value) => visitor.visit_i64(value),
            Unexpected::Float(value) => visitor.visit_f64(value),
            Unexpected::Str(text) => visitor.visit_str(text),
            Unexpected::Seq => self.deserialize_seq(visitor),
            _ => self.deserialize_map(visitor),
        }
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.refuse_tag()?;
        match self.found_type() {
            Unexpected::Bool(value) => visitor.visit_bool(value),
            _ => self.refuse_type("true or false"),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.refuse_tag()?;
        match self.0.as_text() {
            Some(text) if !self.0.is_null() => visitor.visit_str(text),
            _ => self.refuse_type("text"),
        }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.deserialize_string(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.refuse_tag()?;
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        self.refuse_tag()?;
        match self.0.as_sequence() {
            Some(items) => visitor.visit_seq(SequenceReader(items.iter().enumerate())),
            None => self.refuse_type("a list"),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_map(MappingReader::new(self.mapping_entries()?.iter().collect()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        known: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        let entries = self.mapping_entries()?;
        if let Some(stray) = entries.iter().find(|e| !known.contains(&e.key.text())) {
            return Err(FieldError::unknown_field(stray.at, stray.key.text(), known));
        }
        // A tag may have no value, as in `password: !secret`. That is a mistake, not a field that was left out.
        let given = |e: &&MappingEntry| !e.value.is_null() || e.value.tag().is_some();
        visitor.visit_map(MappingReader::new(entries.iter().filter(given).collect()))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, FieldError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, FieldError> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char bytes byte_buf
        unit unit_struct tuple tuple_struct enum identifier
    }
}

struct SequenceReader<I>(I);

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> de::SeqAccess<'de> for SequenceReader<I> {
    type Error = FieldError;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, FieldError> {
        let Some((index, node)) = self.0.next() else { return Ok(None) };
        seed.deserialize(Reader(node))
            .map(Some)
            .map_err(|f| f.add_segment(PathSegment::Index(index), node.position()))
    }
}

struct MappingReader<'a> {
    rest: std::vec::IntoIter<&'a MappingEntry>,
    current: Option<&'a MappingEntry>,
}

impl<'a> MappingReader<'a> {
    fn new(entries: Vec<&'a MappingEntry>) -> Self {
        Self { rest: entries.into_iter(), current: None }
    }
}

impl<'de> de::MapAccess<'de> for MappingReader<'_> {
    type Error = FieldError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, FieldError> {
        self.current = self.rest.next();
        let Some(entry) = self.current else { return Ok(None) };
        let key: StrDeserializer<'_, FieldError> = entry.key.text().into_deserializer();
        seed.deserialize(key)
            .map(Some)
            .map_err(|f| f.add_segment(PathSegment::Key(entry.key.text().to_owned()), entry.at))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, FieldError> {
        let Some(entry) = self.current else {
            return Err(de::Error::custom("a value was requested before its key"));
        };
        seed.deserialize(Reader(&entry.value))
            .map_err(|f| f.add_segment(PathSegment::Key(entry.key.text().to_owned()), entry.value.position()))
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test that cannot go on should stop")]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn read_text<'de, T: Deserialize<'de>>(text: &str) -> Result<T, FieldError> {
        read(&super::super::read_manifests(text).unwrap().nodes[0])
    }

    #[test]
    fn untyped_value_is_read_as_written() {
        let value: Value = read_text("{a: [1, 0.5, true, ~, 'x', \"1\"], b: {c: yes}}").unwrap();
        assert_eq!(value, json!({ "a": [1, 0.5, true, null, "x", "1"], "b": { "c": "yes" } }));
    }

    #[test]
    fn newtype_is_read_like_its_inner_type() {
        #[derive(serde::Deserialize, PartialEq, Debug)]
        struct Names(Vec<String>);
        assert_eq!(read_text("[1.10, x]"), Ok(Names(vec!["1.10".into(), "x".into()])));
        let fault = read_text::<Names>("[x, [y]]").unwrap_err();
        assert_eq!(
            (fault.path_text().as_str(), fault.to_string().as_str()),
            ("[1]", "expected text, got a list")
        );
    }

    #[test]
    fn error_at_root_has_root_position() {
        let fault = read_text::<bool>("\n  1.5").unwrap_err();
        assert_eq!(fault.to_string(), "expected true or false, got the number 1.5");
        assert_eq!((fault.at.unwrap().line, fault.path_text().as_str()), (2, ""));
    }
}
