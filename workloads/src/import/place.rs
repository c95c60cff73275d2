//! Values with their places, read strictly.

use serde_json::Value;

/// Items of a list that are read: each takes many times the memory of its text.
const MOST_ITEMS: usize = 100_000;
/// Of a name that stands in a message.
pub(super) const NAME_LENGTH: usize = 80;
/// Longest time that is read: thirty years. Its nanoseconds are a number that records can hold.
const MOST_SECONDS: f64 = 1e9;

/// A value that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault {
    /// As in `jobs[1].read.iops`; empty: the whole.
    pub place: String,
    /// What is wrong there.
    pub problem: String,
}

/// A value, and where it is.
#[derive(Debug, Clone)]
pub(super) struct Place<'a> {
    value: &'a Value,
    path: String,
}

impl<'a> Place<'a> {
    /// The whole.
    pub fn top(value: &'a Value) -> Place<'a> {
        Place { value, path: String::new() }
    }

    /// The value itself.
    pub fn value(&self) -> &'a Value {
        self.value
    }

    /// That this is wrong here.
    pub fn fault(&self, problem: impl Into<String>) -> Fault {
        Fault { place: self.path.clone(), problem: problem.into() }
    }

    /// The place of a field, whether it is there or not.
    fn path_of(&self, name: &str) -> String {
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let is_known = name.chars().all(is_plain) && !name.is_empty();
        let name = bench_agent::printable(name, NAME_LENGTH);
        match is_known {
            true if self.path.is_empty() => name,
            true => format!("{}.{name}", self.path),
            false => format!("{}[{name:?}]", self.path),
        }
    }

    /// A field that may be missing.
    pub fn find(&self, name: &str) -> Option<Place<'a>> {
        Some(Place { value: self.value.get(name)?, path: self.path_of(name) })
    }

    /// A field that must be there.
    pub fn field(&self, name: &str) -> Result<Place<'a>, Fault> {
        if !self.value.is_object() {
            return Err(self.not("an object"));
        }
        let missing = || Fault { place: self.path_of(name), problem: "it is missing".to_owned() };
        self.find(name).ok_or_else(missing)
    }

    /// All fields of what must be an object.
    pub fn fields(&self) -> Result<Vec<(&'a str, Place<'a>)>, Fault> {
        let object = self.value.as_object().ok_or_else(|| self.not("an object"))?;
        let field = |(name, value): (&'a String, &'a Value)| (name.as_str(), Place { value, path: self.path_of(name) });
        Ok(object.iter().map(field).collect())
    }

    /// All items of what must be a list.
    pub fn items(&self) -> Result<Vec<Place<'a>>, Fault> {
        let list = self.value.as_array().ok_or_else(|| self.not("a list"))?;
        if list.len() > MOST_ITEMS {
            return Err(self.fault(format!("it has {} items, and {MOST_ITEMS} are read at most", list.len())));
        }
        let item = |(at, value)| Place { value, path: format!("{}[{at}]", self.path) };
        Ok(list.iter().enumerate().map(item).collect())
    }

    /// What must be a text that says something.
    pub fn text(&self) -> Result<&'a str, Fault> {
        let text = self.value.as_str().filter(|text| !text.trim().is_empty());
        text.ok_or_else(|| self.not("a text"))
    }

    /// What must be an integer of 0 or more.
    pub fn count(&self) -> Result<u64, Fault> {
        let number = self.at_least_0("a whole number of 0 or more")?;
        let exact =
            self.value.as_u64().or_else(|| (number.fract() == 0.0 && number < 2_f64.powi(63)).then_some(number as u64));
        exact.ok_or_else(|| self.not("a whole number of 0 or more"))
    }

    /// What must be a number above 0.
    pub fn positive(&self) -> Result<f64, Fault> {
        let wanted = "a number above 0";
        let number = self.at_least_0(wanted)?;
        if number > 0.0 { Ok(number) } else { Err(self.not(wanted)) }
    }

    /// What must be a time above 0, in seconds.
    pub fn seconds(&self) -> Result<f64, Fault> {
        let seconds = self.positive()?;
        self.at_most(seconds, MOST_SECONDS, "s")
    }

    /// What must be a whole number of milliseconds above 0.
    pub fn milliseconds(&self) -> Result<f64, Fault> {
        self.positive()?;
        self.at_most(self.count()? as f64, 1e3 * MOST_SECONDS, "ms")
    }

    fn at_most(&self, found: f64, most: f64, unit: &str) -> Result<f64, Fault> {
        if found <= most { Ok(found) } else { Err(self.not(&format!("{most} {unit} at most"))) }
    }

    /// What must be a number of 0 or more.
    pub fn number(&self) -> Result<f64, Fault> {
        self.at_least_0("a number of 0 or more")
    }

    fn at_least_0(&self, wanted: &str) -> Result<f64, Fault> {
        let number = self.value.as_f64().filter(|number| number.is_finite() && *number >= 0.0);
        number.ok_or_else(|| self.not(wanted))
    }

    /// That it is something else.
    pub fn not(&self, wanted: &str) -> Fault {
        let found = match self.value {
            Value::Null => "null, or no number such as NaN".to_owned(),
            Value::Bool(_) => "true or false".to_owned(),
            Value::Number(number) => number.to_string(),
            Value::String(text) => format!("the text {:?}", bench_agent::printable(text, 40)),
            Value::Array(_) => "a list".to_owned(),
            Value::Object(_) => "an object".to_owned(),
        };
        self.fault(format!("it is {found}, and must be {wanted}"))
    }
}
