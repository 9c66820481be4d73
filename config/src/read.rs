//! Reads TOML tables key by key, so that every unknown key, wrong type and missing key is a problem of its own.

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::problem::{Problems, nearest, quote};
use crate::raw::groups::{Named, Texts};
use crate::raw::resources::PerNode;
use crate::raw::shapes;

/// A value, with where it stands.
#[derive(Debug, Clone)]
pub(crate) struct Placed<T> {
    pub(crate) value: T,
    /// Key path, such as `sets.mail.lanes`.
    pub(crate) key: String,
    /// Byte in the text.
    pub(crate) at: usize,
}

impl<T> Placed<T> {
    /// Another value at the same place.
    pub(crate) fn with<U>(&self, value: U) -> Placed<U> {
        Placed { value, key: self.key.clone(), at: self.at }
    }
}

/// What a kind of table may hold.
pub(crate) struct Shape {
    /// How its header is written, for messages.
    pub(crate) header: &'static str,
    /// Its keys, each with an example of how it is written.
    pub(crate) keys: &'static [(&'static str, &'static str)],
}

impl Shape {
    pub(crate) fn example(&self, key: &str) -> &'static str {
        self.keys.iter().find(|(name, _)| *name == key).map_or("", |(_, example)| example)
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.keys.iter().map(|(name, _)| *name)
    }
}

/// A text or a whole number, where both are allowed.
#[derive(Debug, Clone)]
pub(crate) enum Scalar {
    Text(String),
    Number(i64),
}

/// A table with the name that the user gave it.
pub(crate) type NamedTable<'a, 'i> = (Placed<String>, Placed<&'a DeTable<'i>>);

/// One table being read. Ask for each key once, then call [`Reader::finish`].
pub(crate) struct Reader<'a, 'i> {
    problems: &'a Problems<'a>,
    shape: &'static Shape,
    table: &'a DeTable<'i>,
    key: String,
    at: usize,
    missing: Vec<&'static str>,
}

impl<'a, 'i> Reader<'a, 'i> {
    pub(crate) fn new(problems: &'a Problems<'a>, shape: &'static Shape, table: Placed<&'a DeTable<'i>>) -> Self {
        Self { problems, shape, table: table.value, key: table.key, at: table.at, missing: Vec::new() }
    }

    /// The text of `key`.
    pub(crate) fn text(&self, key: &str) -> Option<Placed<String>> {
        let value = self.value(key)?;
        match value.value.as_str() {
            Some(text) => Some(value.with(text.to_owned())),
            None => self.wrong_type(&value, "text in quotes", key),
        }
    }

    /// The whole number of `key`.
    pub(crate) fn number(&self, key: &str) -> Option<Placed<i64>> {
        let value = self.value(key)?;
        match whole_number(value.value) {
            Some(Ok(number)) => Some(value.with(number)),
            Some(Err(digits)) => self.too_large(&value, &digits, key),
            None => self.wrong_type(&value, "a whole number", key),
        }
    }

    /// The text or whole number of `key`.
    pub(crate) fn scalar(&self, key: &str) -> Option<Placed<Scalar>> {
        let value = self.value(key)?;
        match (value.value.as_str(), whole_number(value.value)) {
            (Some(text), _) => Some(value.with(Scalar::Text(text.to_owned()))),
            (_, Some(Ok(number))) => Some(value.with(Scalar::Number(number))),
            (_, Some(Err(digits))) => self.too_large(&value, &digits, key),
            _ => self.wrong_type(&value, "a whole number or text in quotes", key),
        }
    }

    /// `true` or `false` of `key`.
    pub(crate) fn boolean(&self, key: &str) -> Option<Placed<bool>> {
        let value = self.value(key)?;
        match value.value.as_bool() {
            Some(boolean) => Some(value.with(boolean)),
            None => self.wrong_type(&value, "true or false", key),
        }
    }

    /// The list of texts of `key`; elements of another type are problems and left out.
    pub(crate) fn texts(&self, key: &str) -> Option<Placed<Vec<Placed<String>>>> {
        let list = self.list(key)?;
        let text = |element: &Placed<&DeValue<'_>>| match element.value.as_str() {
            Some(text) => Some(element.with(text.to_owned())),
            None => self.wrong_type(element, "text in quotes", key),
        };
        let texts: Vec<_> = list.value.iter().filter_map(text).collect();
        // A list that only seems empty must not be called so.
        (!texts.is_empty() || list.value.is_empty()).then(|| list.with(texts))
    }

    /// The text of `key` as a list of one, or its list of texts.
    pub(crate) fn text_or_texts(&self, key: &str) -> Option<Placed<Vec<Placed<String>>>> {
        let value = self.value(key)?;
        match (value.value.as_str(), value.value.as_array()) {
            (Some(text), _) => Some(value.with(vec![value.with(text.to_owned())])),
            (None, Some(_)) => self.texts(key),
            (None, None) => self.wrong_type(&value, "text in quotes or a list of texts", key),
        }
    }

    /// The list of tables of `key`; elements of another type are problems and left out.
    pub(crate) fn tables(&self, key: &str) -> Option<Placed<Vec<Placed<&'a DeTable<'i>>>>> {
        let list = self.list(key)?;
        let table = |element: &Placed<&'a DeValue<'i>>| match element.value.as_table() {
            Some(table) => Some(element.with(table)),
            None => self.wrong_type(element, "a table", key),
        };
        let tables: Vec<_> = list.value.iter().filter_map(table).collect();
        (!tables.is_empty() || list.value.is_empty()).then(|| list.with(tables))
    }

    /// The table of `key`.
    pub(crate) fn table(&self, key: &str) -> Option<Placed<&'a DeTable<'i>>> {
        let value = self.value(key)?;
        match value.value.as_table() {
            Some(table) => Some(value.with(table)),
            None => self.wrong_type(&value, "a table", key),
        }
    }

    /// The tables within the table of `key`, each with its name, which the user chooses; none if it is absent, `None` if it is no table.
    pub(crate) fn named_tables(&self, key: &str) -> Option<Vec<NamedTable<'a, 'i>>> {
        if !self.table.contains_key(key) {
            return Some(Vec::new());
        }
        let table = self.table(key)?;
        let mut named = Vec::new();
        for (name, value) in table.value.iter() {
            let value = placed(join(&table.key, name.get_ref()), value);
            let name = Placed { value: name.get_ref().to_string(), key: value.key.clone(), at: name.span().start };
            match value.value.as_table() {
                Some(inner) => named.push((name, value.with(inner))),
                None => {
                    self.wrong_type::<()>(&value, "a table", key);
                }
            }
        }
        Some(named)
    }

    /// The whole numbers of the table of `key`, each with its name, which the user chooses; `None` if one is something else.
    pub(crate) fn named_numbers(&self, key: &str) -> Option<Named<i64>> {
        let table = self.table(key)?;
        let number = |(name, value): (Placed<String>, Placed<&DeValue<'_>>)| match whole_number(value.value) {
            Some(Ok(number)) => Some((name, number)),
            Some(Err(digits)) => self.too_large(&value, &digits, key),
            None => self.wrong_type(&value, "a whole number", key),
        };
        let numbers: Vec<_> = entries(&table).map(number).collect();
        Some(table.with(numbers.into_iter().collect::<Option<_>>()?))
    }

    /// The texts of the table of `key`, each with its name, which the user chooses, and each one text or a list.
    pub(crate) fn named_texts(&self, key: &str) -> Option<Named<Texts>> {
        let table = self.table(key)?;
        let texts = |(name, value): (Placed<String>, Placed<&DeValue<'_>>)| {
            let one = |value: &Placed<&DeValue<'_>>| match value.value.as_str() {
                Some(text) => Some(value.with(text.to_owned())),
                None => self.wrong_type(value, "text in quotes", key),
            };
            let list = match value.value.as_array() {
                Some(list) => list.iter().map(|element| one(&placed(value.key.clone(), element))).collect::<Option<Vec<_>>>()?,
                None => vec![one(&value)?],
            };
            Some((name, value.with(list)))
        };
        let named: Vec<_> = entries(&table).filter_map(texts).collect();
        (!named.is_empty() || table.value.is_empty()).then(|| table.with(named))
    }

    /// The text of `key`, or the texts of its table, each with its name, which the user chooses.
    pub(crate) fn text_or_named(&self, key: &str) -> Option<Placed<PerNode<String>>> {
        let value = self.value(key)?;
        if let Some(text) = value.value.as_str() {
            return Some(value.with(PerNode::All(text.to_owned())));
        }
        let Some(table) = value.value.as_table() else {
            return self.wrong_type(&value, "text in quotes or a table of texts", key);
        };
        let text = |(name, value): (Placed<String>, Placed<&DeValue<'_>>)| match value.value.as_str() {
            Some(text) => Some((name, text.to_owned())),
            None => self.wrong_type(&value, "text in quotes", key),
        };
        Some(value.with(PerNode::Each(entries(&value.with(table)).filter_map(text).collect())))
    }

    /// Notes `key` as missing if it is; say so for each key that has no default.
    pub(crate) fn require(&mut self, key: &'static str) {
        if !self.table.contains_key(key) {
            self.missing.push(key);
        }
    }

    /// Reports unknown and missing keys.
    pub(crate) fn finish(mut self) {
        for (key, _) in self.table.iter() {
            if self.shape.names().any(|name| name == key.get_ref()) {
                continue;
            }
            let advice = self.advise_unknown(key.get_ref());
            let wrong = match self.shape.header {
                "" => "there is no such key at the top of the file".to_owned(),
                header => format!("there is no such key in {}", self.with_name(header)),
            };
            self.problems.add(key.span().start, &join(&self.key, key.get_ref()), wrong, advice);
        }
        for key in &self.missing {
            self.problems.add(
                self.at,
                &join(&self.key, key),
                "it is missing",
                format!("add {}", self.with_name(self.shape.example(key))),
            );
        }
    }

    /// What to do about an unknown key. A missing key it is a slip of is not reported again.
    fn advise_unknown(&mut self, key: &str) -> String {
        let free = self.shape.names().filter(|name| !self.table.contains_key(*name));
        if let Some(meant) = nearest(key, free) {
            self.missing.retain(|missing| *missing != meant);
            return format!("did you mean {meant}?");
        }
        let home = shapes().find(|shape| shape.names().any(|name| name == key));
        match (home, nearest(key, self.shape.names())) {
            (Some(home), _) if !home.header.is_empty() => format!("{key} belongs in {}", self.with_name(home.header)),
            (Some(_), _) => format!("[{key}] belongs at the top of the file"),
            (None, Some(meant)) => format!("did you mean {meant}, which is also there?"),
            (None, None) => format!("remove it, or use one of {}", self.shape.names().collect::<Vec<_>>().join(", ")),
        }
    }

    /// `text` with the name of the set or peer that is being read in the place of `NAME`.
    fn with_name(&self, text: &str) -> String {
        for kind in ["sets.", "peers.", "groups."] {
            if let Some(rest) = self.key.strip_prefix(kind) {
                let inner = [".roots[", ".limits[", ".resources["].iter().find_map(|inner| rest.split_once(inner));
                let name = inner.map_or(rest, |(name, _)| name);
                let name = [".points", ".witness", ".alert"].iter().find_map(|end| name.strip_suffix(end)).unwrap_or(name);
                return text.replace(&format!("{kind}NAME"), &format!("{kind}{name}"));
            }
        }
        text.to_owned()
    }

    fn value(&self, key: &str) -> Option<Placed<&'a DeValue<'i>>> {
        self.table.get(key).map(|value| placed(join(&self.key, key), value))
    }

    fn list(&self, key: &str) -> Option<Placed<Vec<Placed<&'a DeValue<'i>>>>> {
        let value = self.value(key)?;
        let Some(array) = value.value.as_array() else {
            return self.wrong_type(&value, "a list", key);
        };
        let element = |(index, element)| placed(format!("{}[{index}]", value.key), element);
        Some(value.with(array.iter().enumerate().map(element).collect()))
    }

    fn wrong_type<T>(&self, value: &Placed<&DeValue<'_>>, wanted: &str, key: &str) -> Option<T> {
        let wrong = format!("{} is not {wanted}", describe(value.value));
        self.problems.add(value.at, &value.key, wrong, format!("write {}", self.with_name(self.shape.example(key))));
        None
    }

    fn too_large<T>(&self, value: &Placed<&DeValue<'_>>, digits: &str, key: &str) -> Option<T> {
        let wrong = format!("the number {} has too many digits", quote(digits));
        self.problems.add(value.at, &value.key, wrong, format!("write {}", self.with_name(self.shape.example(key))));
        None
    }
}

/// The keys and values of a table whose keys the user chooses.
fn entries<'a, 'i>(table: &Placed<&'a DeTable<'i>>) -> impl Iterator<Item = (Placed<String>, Placed<&'a DeValue<'i>>)> {
    table.value.iter().map(|(name, value)| {
        let value = placed(join(&table.key, name.get_ref()), value);
        (Placed { value: name.get_ref().to_string(), key: value.key.clone(), at: name.span().start }, value)
    })
}

/// `key` beneath `path`, quoted as TOML where it must be.
pub(crate) fn join(path: &str, key: &str) -> String {
    let bare = !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    let key = if bare { key.to_owned() } else { quote(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

fn placed<'a, 'i>(key: String, value: &'a Spanned<DeValue<'i>>) -> Placed<&'a DeValue<'i>> {
    Placed { value: value.get_ref(), key, at: value.span().start }
}

/// A whole number, or the digits of one that does not fit; `None` for other types.
fn whole_number(value: &DeValue<'_>) -> Option<Result<i64, String>> {
    let integer = value.as_integer()?;
    Some(i64::from_str_radix(integer.as_str(), integer.radix()).map_err(|_| integer.as_str().to_owned()))
}

/// A value for a message.
fn describe(value: &DeValue<'_>) -> String {
    match value {
        DeValue::String(text) => format!("the text {}", quote(text)),
        DeValue::Integer(number) => format!("the number {}", number.as_str()),
        DeValue::Float(number) => format!("the number {}", number.as_str()),
        DeValue::Boolean(boolean) => boolean.to_string(),
        DeValue::Datetime(_) => "a date or time".to_owned(),
        DeValue::Array(_) => "a list".to_owned(),
        DeValue::Table(_) => "a table".to_owned(),
    }
}
