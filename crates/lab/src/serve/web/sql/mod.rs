//! The shop's database: two tables and as much of SQL as a shop needs, and as a tool needs that looks for injection.
//!
//! The web application puts what clients send into its queries as it is. So injected conditions, unions and syntax errors
//! behave as they would with a real database; beyond two tables of invented rows there is nothing to be had.

mod parser;
mod token;

use parser::Parser;
use std::cmp::Ordering;
use std::fmt;

/// Longest query, bytes.
const MAX_QUERY: usize = 4096;

/// A value.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Value {
    Null,
    Number(f64),
    Text(String),
}

use Value::{Null, Number, Text};

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Null => Ok(()),
            Number(n) => write!(f, "{n}"),
            Text(t) => f.write_str(t),
        }
    }
}

impl Value {
    fn truth(flag: bool) -> Self {
        Number(f64::from(u8::from(flag)))
    }

    /// As a number: text counts by the number it begins with.
    fn number(&self) -> f64 {
        match self {
            Null => 0.0,
            Number(n) => *n,
            Text(t) => {
                let end = t.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(t.len());
                t[..end].parse().unwrap_or(0.0)
            }
        }
    }

    fn is_true(&self) -> bool {
        self.number() != 0.0
    }

    /// Order as `SQLite` has it: nothing before numbers before text.
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Number(a), Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Text(a), Text(b)) => a.cmp(b),
            (Null, Null) => Ordering::Equal,
            (Null, _) | (Number(_), Text(_)) => Ordering::Less,
            _ => Ordering::Greater,
        }
    }
}

/// Columns and rows of a table.
type Table = (&'static str, &'static [&'static str], fn() -> Vec<Vec<Value>>);

const TABLES: &[Table] = &[
    ("products", &["id", "name", "price", "stock"], products),
    ("users", &["id", "name", "password"], users),
    ("sqlite_master", &["type", "name", "sql"], master),
];

fn products() -> Vec<Vec<Value>> {
    const NAMES: [&str; 8] = ["lamp", "chair", "table", "shelf", "carpet", "curtain", "mirror", "clock"];
    let row = |i: usize| {
        let price = 10.0 + (i * 37 % 90) as f64;
        let name = format!("{} no. {}", NAMES[i % NAMES.len()], i + 1);
        vec![Number((i + 1) as f64), Text(name), Number(price), Number((i * 13 % 40) as f64)]
    };
    (0..40).map(row).collect()
}

fn users() -> Vec<Vec<Value>> {
    // Invented, and valid nowhere.
    [("anna", "not-a-password-1"), ("bruno", "not-a-password-2"), ("lab", "not-a-password-3")]
        .into_iter()
        .zip(1..)
        .map(|((name, password), i)| vec![Number(f64::from(i)), Text(name.into()), Text(password.into())])
        .collect()
}

fn master() -> Vec<Vec<Value>> {
    let row = |(name, columns, _): &Table| {
        let sql = format!("CREATE TABLE {name} ({})", columns.join(", "));
        vec![Text("table".into()), Text((*name).into()), Text(sql)]
    };
    TABLES.iter().take(2).map(row).collect()
}

/// What a query returns; an error reads as one of `SQLite`.
///
/// # Errors
/// The query is not understood, or too large.
pub(super) fn run(query: &str) -> Result<Vec<Vec<Value>>, String> {
    if query.len() > MAX_QUERY {
        return Err("query too long".to_owned());
    }
    let tokens = token::tokens(query)?;
    Parser::new(&tokens).whole()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names found by the shop's query for one product.
    fn product(id: &str) -> Result<Vec<String>, String> {
        let rows = run(&format!("SELECT id, name, price, stock FROM products WHERE id = {id}"))?;
        Ok(rows.into_iter().map(|row| row.get(1).map(ToString::to_string).unwrap_or_default()).collect())
    }

    #[test]
    fn queries_mean_what_they_mean_elsewhere() {
        let check = |id: &str, expected: &[&str]| {
            assert_eq!(product(id).unwrap_or_else(|e| panic!("{id}: {e}")), expected, "{id}");
        };
        check("3", &["table no. 3"]);
        check("99", &[]);
        check("3 AND 1=1", &["table no. 3"]);
        check("3 AND 1=2", &[]);
        check("3 AND 'a'='a'", &["table no. 3"]);
        check("3 and (select count(*) from users)=3 -- x", &["table no. 3"]);
        check(
            "99 UNION ALL SELECT 1, name || ':' || password, 3, 4 FROM users WHERE id=1",
            &["anna:not-a-password-1"],
        );
        check("99 OR id BETWEEN 1 AND 2", &["lamp no. 1", "chair no. 2"]);
        check("99 OR name LIKE '%lamp no. 9%'", &["lamp no. 9"]);
        check("id AND id IN (2, 3) ORDER BY 1 DESC", &["table no. 3", "chair no. 2"]);
        check("CASE WHEN 1=1 THEN 2 ELSE 3 END", &["chair no. 2"]);
        check("2 AND unicode(substr((SELECT name FROM users LIMIT 1),1,1))>96", &["chair no. 2"]);
        check("-2 + 4", &["chair no. 2"]);
        check("99 UNION SELECT NULL,CHAR(65,66),NULL,NULL", &["AB"]);
    }

    #[test]
    fn mistakes_are_told_as_sqlite_tells_them() {
        let check = |id: &str, expected: &str| {
            let error = product(id).expect_err(id);
            assert!(error.contains(expected), "{id}: {error}");
        };
        check("1'", "syntax error");
        check("1)", "syntax error");
        check("1 AND", "incomplete input");
        check("1 UNION SELECT 1,2", "same number of result columns");
        check("1 ORDER BY 9", "ORDER BY term out of range");
        check("nothing", "no such column: nothing");
        check("1 AND sleep(5)", "no such function: SLEEP");
        check("1 UNION SELECT 1,2,3,4 FROM secrets", "no such table: secrets");
    }

    #[test]
    fn hostile_queries_end_soon() {
        for deep in ["(".repeat(4000), "-".repeat(3990), "not ".repeat(990), "1 + (".repeat(700)] {
            let _ = product(&deep);
        }
        let product_of_all =
            "1 AND (SELECT count(*) FROM products WHERE ".repeat(30) + "1=1" + &")>0".repeat(30);
        let _ = product(&product_of_all);
    }
}
