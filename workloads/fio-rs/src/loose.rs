//! JSON as C programs print it: nearly JSON, with values of any type in any place.
//!
//! [`object`] finds where an object ends and mends what no parser would take. [`Record`] then reads the fields that it knows and
//! passes over the rest, whatever it is: no odd value hides the values beside it, and nothing is built of what is not used.

use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// An object that [`object`] cut out of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// Its text, which is JSON unless it was worse than what can be mended.
    pub json: String,
    /// Lines of notes that were printed amid the object.
    pub notes: Vec<String>,
    /// Bytes of the text that it takes.
    pub length: usize,
}

/// Why no object can be cut out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// The text ends before the object does.
    #[error("breaks off")]
    Off,
    /// It has more levels than are read.
    #[error("is nested too deeply, more than {DEEPEST} levels")]
    TooDeep,
}

/// Cut out the object that the text begins with. Mended are tokens such as `-nan` and `inf` (to `null`), decimal commas, raw control
/// characters and unknown escapes in strings, and lines of notes between the fields.
///
/// # Errors
/// It breaks off, or is nested too deeply.
pub fn object(text: &str) -> Result<Object, Broken> {
    let mut cut = Cut { text, at: 0, json: String::new(), notes: Vec::new(), open: Vec::new() };
    while let Some(&byte) = text.as_bytes().get(cut.at) {
        cut.step(byte)?;
        if cut.open.is_empty() {
            return Ok(Object { json: cut.json, notes: cut.notes, length: cut.at });
        }
    }
    Err(Broken::Off)
}

/// Lines of notes that are kept.
const MOST_NOTES: usize = 1000;
/// How deeply objects and arrays may be nested, as in serde_json, which refuses the 128th level.
const DEEPEST: usize = 127;

/// Where [`object`] is.
struct Cut<'a> {
    text: &'a str,
    at: usize,
    json: String,
    notes: Vec<String>,
    /// Brackets that are not closed yet.
    open: Vec<u8>,
}

impl Cut<'_> {
    /// One token.
    fn step(&mut self, byte: u8) -> Result<(), Broken> {
        match byte {
            b'"' => return self.string().ok_or(Broken::Off),
            b'{' | b'[' => {
                self.open.push(byte);
                if self.open.len() > DEEPEST {
                    return Err(Broken::TooDeep);
                }
            }
            b'}' | b']' => {
                self.open.pop();
                if self.open.is_empty() {
                    self.copy(1);
                    return Ok(());
                }
            }
            b',' if self.is_decimal_comma() => {
                self.json.push('.');
                self.at += 1;
                return Ok(());
            }
            b'+' | b'-' | b'A'..=b'Z' | b'a'..=b'z' => {
                self.word();
                return Ok(());
            }
            _ => {}
        }
        // What needs no look goes along, and whole characters: a note may be in any language.
        let in_list = self.open.last() == Some(&b'[');
        let is_plain = |byte: &&u8| match byte {
            b'"' | b'{' | b'}' | b'[' | b']' | b'+' | b'-' => false,
            b',' => in_list,
            byte => !byte.is_ascii_alphabetic(),
        };
        let rest = &self.text.as_bytes()[self.at + usize::from(byte.is_ascii())..];
        self.copy(usize::from(byte.is_ascii()) + rest.iter().take_while(is_plain).count());
        Ok(())
    }

    fn copy(&mut self, bytes: usize) {
        self.json.push_str(&self.text[self.at..self.at + bytes]);
        self.at += bytes;
    }

    /// Between digits, in an object, where the name of a field would have to follow.
    fn is_decimal_comma(&self) -> bool {
        let bytes = self.text.as_bytes();
        let is_digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
        self.open.last() == Some(&b'{') && is_digit(self.at + 1) && self.at.checked_sub(1).is_some_and(is_digit)
    }

    /// A string, with everything escaped that has to be; absent where it does not end.
    fn string(&mut self) -> Option<()> {
        self.copy(1);
        loop {
            let rest = &self.text[self.at..];
            let plain = rest.bytes().take_while(|&byte| byte >= b' ' && byte != b'"' && byte != b'\\').count();
            self.copy(plain);
            match rest.as_bytes().get(plain)? {
                b'"' => {
                    self.copy(1);
                    return Some(());
                }
                b'\\' => match rest.as_bytes().get(plain + 1)? {
                    b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.copy(2),
                    b'u' if is_hexadecimal(&rest.as_bytes()[plain + 2..]) => self.copy(6),
                    _ => {
                        self.json.push_str("\\\\");
                        self.at += 1;
                    }
                },
                control => {
                    self.json.push_str(&format!("\\u{control:04x}"));
                    self.at += 1;
                }
            }
        }
    }

    /// A literal, what C prints for what is no number, the sign of a number, or the beginning of a line that is no JSON.
    fn word(&mut self) {
        let rest = &self.text[self.at..];
        let is_of_word = |byte: &u8| byte.is_ascii_alphanumeric() || b"+-.()_".contains(byte);
        let word = &rest[..rest.bytes().take_while(|byte| is_of_word(byte)).count()];
        let name = word.trim_start_matches(['+', '-']).to_ascii_lowercase();
        if ["true", "false", "null"].contains(&word) || name.starts_with(|first: char| first.is_ascii_digit()) {
            self.copy(word.len());
        } else if ["nan", "inf", "infinity"].contains(&name.as_str()) || name.starts_with("nan(") {
            self.json.push_str("null");
            self.at += word.len();
        } else if self.begins_line() {
            let line = &rest[..rest.find('\n').unwrap_or(rest.len())];
            if self.notes.len() < MOST_NOTES {
                self.notes.push(line.trim_end().to_owned());
            }
            self.at += line.len();
        } else {
            self.copy(word.len().max(1));
        }
    }

    fn begins_line(&self) -> bool {
        self.text[..self.at].trim_end_matches([' ', '\t']).ends_with('\n')
    }
}

/// True when four hexadecimal digits come.
fn is_hexadecimal(bytes: &[u8]) -> bool {
    bytes.get(..4).is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
}

/// Something that is read from the fields of an object.
pub trait Record: Default {
    /// Read the value of a field that is known by this name; false: it is not.
    fn field<'de, A: MapAccess<'de>>(&mut self, name: &str, from: &mut A) -> Result<bool, A::Error>;
}

/// A record; absent where there was no object. What was said twice is read twice.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Loose<T>(pub Option<T>);

/// A list of records, of which no more than so many are kept, and the number of all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Several<T, const MOST: usize> {
    /// Those that are kept, with a gap for what is no object.
    pub kept: Vec<Loose<T>>,
    /// How many there were.
    pub count: usize,
}

/// A number, or a string that says one.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub enum Figure {
    /// It was not there, or `null`.
    #[default]
    Absent,
    /// It was there, and is no number.
    Odd,
    /// An integer.
    Whole(i128),
    /// Any other finite number.
    Real(f64),
}

impl Figure {
    /// As a count: an integer that is not negative.
    pub fn count(self) -> Option<u64> {
        match self {
            Figure::Whole(number) => u64::try_from(number).ok(),
            Figure::Real(number) if number >= 0.0 && number < 2_f64.powi(64) && number.fract() == 0.0 => {
                Some(number as u64)
            }
            _ => None,
        }
    }

    /// As a number.
    pub fn number(self) -> Option<f64> {
        match self {
            Figure::Whole(number) => Some(number as f64),
            Figure::Real(number) => Some(number),
            Figure::Absent | Figure::Odd => None,
        }
    }

    /// As a number above 0.
    pub fn positive(self) -> Option<f64> {
        self.number().filter(|&number| number > 0.0)
    }

    fn said(text: &str) -> Figure {
        let text = text.trim();
        if let Ok(whole) = text.parse() {
            return Figure::Whole(whole);
        }
        let number = text.replacen(',', ".", 1).parse::<f64>().ok().filter(|number| number.is_finite());
        number.map_or(Figure::Odd, Figure::Real)
    }
}

/// A string, or what can be said as one; absent where it was not there, or `null`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text(pub Option<String>);

/// What a value of any type becomes. All but lists and objects have come to their end when this is asked.
trait Any: Sized {
    fn odd() -> Self;
    fn nothing() -> Self {
        Self::odd()
    }
    fn flag(_: bool) -> Self {
        Self::odd()
    }
    fn whole(_: i128) -> Self {
        Self::odd()
    }
    fn real(_: f64) -> Self {
        Self::odd()
    }
    fn text(_: &str) -> Self {
        Self::odd()
    }
    fn object<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        while fields.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::odd())
    }
    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::odd())
    }
}

struct Reader<T>(std::marker::PhantomData<T>);

impl<'de, T: Any> Visitor<'de> for Reader<T> {
    type Value = T;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("anything")
    }
    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::nothing())
    }
    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::flag(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(T::whole(value.into()))
    }
    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::whole(value.into()))
    }
    fn visit_f64<E>(self, value: f64) -> Result<T, E> {
        Ok(T::real(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::text(value))
    }
    fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<T, A::Error> {
        T::object(fields)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T, A::Error> {
        T::list(items)
    }
}

impl Any for Figure {
    fn odd() -> Self {
        Figure::Odd
    }
    fn nothing() -> Self {
        Figure::Absent
    }
    fn whole(value: i128) -> Self {
        Figure::Whole(value)
    }
    fn real(value: f64) -> Self {
        Figure::Real(value)
    }
    fn text(value: &str) -> Self {
        Figure::said(value)
    }
}

impl Any for Text {
    fn odd() -> Self {
        Text(Some("(no text)".to_owned()))
    }
    fn nothing() -> Self {
        Text(None)
    }
    fn flag(value: bool) -> Self {
        Text(Some(value.to_string()))
    }
    fn whole(value: i128) -> Self {
        Text(Some(value.to_string()))
    }
    fn real(value: f64) -> Self {
        Text(Some(value.to_string()))
    }
    fn text(value: &str) -> Self {
        Text(Some(value.to_owned()))
    }
}

impl<T: Record> Any for Loose<T> {
    fn odd() -> Self {
        Loose(None)
    }
    fn object<'de, A: MapAccess<'de>>(mut fields: A) -> Result<Self, A::Error> {
        let mut record = T::default();
        while let Some(name) = fields.next_key::<String>()? {
            if !record.field(&name, &mut fields)? {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(Loose(Some(record)))
    }
}

impl<T: Record, const MOST: usize> Any for Several<T, MOST> {
    fn odd() -> Self {
        Several { kept: Vec::new(), count: 0 }
    }
    /// One that stands alone is a list of one.
    fn object<'de, A: MapAccess<'de>>(fields: A) -> Result<Self, A::Error> {
        Ok(Several { kept: vec![Loose::object(fields)?], count: 1 })
    }
    fn list<'de, A: SeqAccess<'de>>(mut items: A) -> Result<Self, A::Error> {
        let mut all = Self::odd();
        while all.count < MOST
            && let Some(item) = items.next_element()?
        {
            all.kept.push(item);
            all.count += 1;
        }
        while items.next_element::<IgnoredAny>()?.is_some() {
            all.count += 1;
        }
        Ok(all)
    }
}

macro_rules! readable {
    ($(($($generics:tt)*) $type:ty),*) => {$(
        impl<'de, $($generics)*> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_any(Reader(std::marker::PhantomData))
            }
        }
    )*};
}

readable!(() Figure, () Text, (T: Record) Loose<T>, (T: Record, const MOST: usize) Several<T, MOST>);
