//! Reads and evaluates a query.

use super::Value::{Null, Number, Text};
use super::token::{Token, near};
use super::{MAX_QUERY, TABLES, Table, Value};
use std::cmp::Ordering;

/// Deepest nesting of expressions: what recurses is bounded.
const MAX_DEPTH: u32 = 48;
/// Most rows of a result.
const MAX_ROWS: usize = 1000;
/// Rows looked at and expressions evaluated in one query: nested selects multiply.
const MAX_STEPS: u32 = 100_000;

/// The row at hand, by table.
#[derive(Clone, Default)]
struct Scope<'a> {
    columns: &'a [&'a str],
    row: &'a [Value],
}

/// Reads and evaluates at once: conditions are read again for each row.
pub(super) struct Parser<'a> {
    tokens: &'a [Token],
    at: usize,
    depth: u32,
    steps: u32,
}

type Outcome<T> = Result<T, String>;

impl<'a> Parser<'a> {
    pub(super) const fn new(tokens: &'a [Token]) -> Self {
        Self { tokens, at: 0, depth: 0, steps: 0 }
    }

    /// Runs the query that the tokens are, all of them.
    pub(super) fn whole(mut self) -> Outcome<Vec<Vec<Value>>> {
        let rows = self.query(&Scope::default())?;
        self.take(";");
        match self.tokens.get(self.at) {
            None => Ok(rows),
            Some(_) => Err(self.here()),
        }
    }

    /// Counts a step, so that what a query costs is bounded.
    fn step(&mut self) -> Outcome<()> {
        self.steps += 1;
        if self.steps > MAX_STEPS { Err("interrupted".to_owned()) } else { Ok(()) }
    }

    fn here(&self) -> String {
        match self.tokens.get(self.at) {
            None => "incomplete input".to_owned(),
            Some(Token::Word(w) | Token::Text(w)) => near(w),
            Some(Token::Number(n)) => near(&n.to_string()),
            Some(Token::Sign(s)) => near(s),
        }
    }

    /// Steps over a sign or a word, if it is next.
    fn take(&mut self, what: &str) -> bool {
        let next = match self.tokens.get(self.at) {
            Some(Token::Word(w)) => w == what,
            Some(Token::Sign(s)) => *s == what,
            _ => false,
        };
        self.at += usize::from(next);
        next
    }

    fn expect(&mut self, what: &str) -> Outcome<()> {
        if self.take(what) { Ok(()) } else { Err(self.here()) }
    }

    fn query(&mut self, outer: &Scope<'_>) -> Outcome<Vec<Vec<Value>>> {
        let mut rows = self.select(outer)?;
        let mut width = self.width(&rows);
        while self.take("union") {
            let all = self.take("all");
            let more = self.select(outer)?;
            let other = self.width(&more);
            if let (Some(a), Some(b)) = (width, other)
                && a != b
            {
                return Err("SELECTs to the left and right of UNION do not have the same number of \
                            result columns"
                    .to_owned());
            }
            width = width.or(other);
            rows.extend(more);
            if !all {
                rows.dedup();
            }
        }
        if self.take("order") {
            self.expect("by")?;
            let column = self.expression(&Scope {
                columns: &["id", "name", "price", "stock"],
                row: &[Number(1.0), Number(2.0), Number(3.0), Number(4.0)],
            })?;
            let column = column.number() as usize;
            if column == 0 || width.is_some_and(|w| column > w) {
                return Err(format!(
                    "1st ORDER BY term out of range - should be between 1 and {}",
                    width.unwrap_or(1)
                ));
            }
            let down = self.take("desc");
            let _ = self.take("asc");
            rows.sort_by(|a, b| {
                a.get(column - 1).zip(b.get(column - 1)).map_or(Ordering::Equal, |(a, b)| a.order(b))
            });
            if down {
                rows.reverse();
            }
        }
        if self.take("limit") {
            let mut first = self.expression(outer)?.number() as usize;
            let mut skip = 0;
            if self.take(",") {
                (skip, first) = (first, self.expression(outer)?.number() as usize);
            } else if self.take("offset") {
                skip = self.expression(outer)?.number() as usize;
            }
            rows = rows.into_iter().skip(skip).take(first).collect();
        }
        rows.truncate(MAX_ROWS);
        Ok(rows)
    }

    fn width(&self, rows: &[Vec<Value>]) -> Option<usize> {
        rows.first().map(Vec::len)
    }

    fn select(&mut self, outer: &Scope<'_>) -> Outcome<Vec<Vec<Value>>> {
        self.expect("select")?;
        let (list, table, condition) = self.outline()?;
        let after = self.at;
        let (columns, rows): (&[&str], _) = match table {
            Some((_, columns, rows)) => (columns, rows()),
            None => (&[], vec![Vec::new()]),
        };
        let mut out = Vec::new();
        let counts = matches!(self.tokens.get(list), Some(Token::Word(w)) if w == "count");
        for row in &rows {
            self.step()?;
            let scope = if table.is_some() { Scope { columns, row } } else { outer.clone() };
            if let Some(condition) = condition {
                self.at = condition;
                if !self.expression(&scope)?.is_true() {
                    continue;
                }
            }
            self.at = list;
            out.push(self.list(&scope)?);
        }
        if counts {
            out = vec![vec![Number(out.len() as f64)]];
        }
        // A condition of no row was never read, and neither was the list: both must be right all the same.
        if out.is_empty() {
            let nothing: Vec<Value> = columns.iter().map(|_| Null).collect();
            let scope = Scope { columns, row: &nothing };
            self.at = list;
            self.list(&scope)?;
            if let Some(condition) = condition {
                self.at = condition;
                self.expression(&scope)?;
            }
        }
        self.at = after;
        Ok(out)
    }

    /// Where list and condition of a select begin, and its table; stands behind the whole afterwards.
    fn outline(&mut self) -> Outcome<(usize, Option<&'static Table>, Option<usize>)> {
        let list = self.at;
        let ends = |p: &Self, words: &[&str]| match p.tokens.get(p.at) {
            None => true,
            Some(Token::Word(w)) => words.contains(&w.as_str()),
            Some(Token::Sign(s)) => *s == ")" || *s == ";",
            _ => false,
        };
        self.skip_until(|p| ends(p, &["from", "union", "order", "limit", "where"]));
        let mut table = None;
        if self.take("from") {
            let Some(Token::Word(name)) = self.tokens.get(self.at) else { return Err(self.here()) };
            table = TABLES.iter().find(|(n, ..)| n == name);
            if table.is_none() {
                return Err(format!("no such table: {name}"));
            }
            self.at += 1;
        }
        let condition = if self.take("where") { Some(self.at) } else { None };
        if condition.is_some() {
            self.skip_until(|p| ends(p, &["union", "order", "limit"]));
        }
        Ok((list, table, condition))
    }

    /// Steps over tokens until `ends`, outside of parentheses.
    fn skip_until(&mut self, ends: impl Fn(&Self) -> bool) {
        let mut open = 0_u32;
        while self.at < self.tokens.len() && !(open == 0 && ends(self)) {
            match self.tokens.get(self.at) {
                Some(Token::Sign("(")) => open += 1,
                Some(Token::Sign(")")) => open = open.saturating_sub(1),
                _ => {}
            }
            self.at += 1;
        }
    }

    fn list(&mut self, scope: &Scope<'_>) -> Outcome<Vec<Value>> {
        if self.take("*") {
            return Ok(scope.row.to_vec());
        }
        let mut out = vec![self.expression(scope)?];
        while self.take(",") {
            out.push(self.expression(scope)?);
        }
        Ok(out)
    }

    fn expression(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        self.step()?;
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("parser stack overflow".to_owned());
        }
        let mut left = self.conjunction(scope)?;
        while self.take("or") {
            let right = self.conjunction(scope)?;
            left = Value::truth(left.is_true() || right.is_true());
        }
        self.depth -= 1;
        Ok(left)
    }

    fn conjunction(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        let mut left = self.negation(scope)?;
        while self.take("and") {
            let right = self.negation(scope)?;
            left = Value::truth(left.is_true() && right.is_true());
        }
        Ok(left)
    }

    fn negation(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        // A loop, since any number of them may come.
        let mut not = false;
        while self.take("not") {
            not = !not;
        }
        let value = self.comparison(scope)?;
        Ok(if not { Value::truth(!value.is_true()) } else { value })
    }

    fn comparison(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        let mut left = self.sum(scope)?;
        loop {
            let sign = ["=", "==", "<>", "!=", "<=", ">=", "<", ">"].into_iter().find(|s| self.take(s));
            if let Some(sign) = sign {
                let right = self.sum(scope)?;
                let order = left.order(&right);
                let holds = match sign {
                    "=" | "==" => order.is_eq(),
                    "<>" | "!=" => order.is_ne(),
                    "<=" => order.is_le(),
                    ">=" => order.is_ge(),
                    "<" => order.is_lt(),
                    _ => order.is_gt(),
                };
                left = Value::truth(holds && left != Null && right != Null);
            } else if self.take("is") {
                let not = self.take("not");
                let right = self.sum(scope)?;
                left = Value::truth((left == right) != not);
            } else {
                let start = self.at;
                let not = self.take("not");
                let Some(holds) = self.membership(&left, scope)? else {
                    self.at = start;
                    return Ok(left);
                };
                left = Value::truth(holds != not);
            }
        }
    }

    /// `LIKE`, `BETWEEN` and `IN`; `None` if none of them is next.
    fn membership(&mut self, left: &Value, scope: &Scope<'_>) -> Outcome<Option<bool>> {
        if self.take("like") {
            let pattern = self.sum(scope)?.to_string().to_lowercase();
            let text = left.to_string().to_lowercase();
            let core = pattern.trim_matches('%');
            return Ok(Some(match (pattern.starts_with('%'), pattern.ends_with('%')) {
                (true, true) => text.contains(core),
                (true, false) => text.ends_with(core),
                (false, true) => text.starts_with(core),
                (false, false) => text == pattern,
            }));
        }
        if self.take("between") {
            let low = self.sum(scope)?;
            self.expect("and")?;
            let high = self.sum(scope)?;
            return Ok(Some(left.order(&low).is_ge() && left.order(&high).is_le()));
        }
        if self.take("in") {
            self.expect("(")?;
            let among = if matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w == "select") {
                self.query(scope)?.into_iter().filter_map(|row| row.into_iter().next()).collect()
            } else {
                self.list(scope)?
            };
            self.expect(")")?;
            return Ok(Some(among.contains(left)));
        }
        Ok(None)
    }

    fn sum(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        let mut left = self.product(scope)?;
        while let Some(sign) = ["+", "-", "||"].into_iter().find(|s| self.take(s)) {
            let right = self.product(scope)?;
            left = match sign {
                "+" => Number(left.number() + right.number()),
                "-" => Number(left.number() - right.number()),
                _ if left == Null || right == Null => Null,
                _ => {
                    let text = format!("{left}{right}");
                    if text.len() > MAX_QUERY {
                        return Err("string or blob too big".to_owned());
                    }
                    Text(text)
                }
            };
        }
        Ok(left)
    }

    fn product(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        let mut left = self.atom(scope)?;
        while let Some(sign) = ["*", "/", "%"].into_iter().find(|s| self.take(s)) {
            let (a, b) = (left.number(), self.atom(scope)?.number());
            left = match sign {
                "*" => Number(a * b),
                _ if b == 0.0 => Null,
                "/" => Number((a / b).trunc()),
                _ => Number(a % b),
            };
        }
        Ok(left)
    }

    fn atom(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        let mut minus = false;
        while self.take("-") {
            minus = !minus;
        }
        let value = match self.tokens.get(self.at).cloned() {
            Some(Token::Number(n)) => {
                self.at += 1;
                Number(n)
            }
            Some(Token::Text(t)) => {
                self.at += 1;
                Text(t)
            }
            Some(Token::Sign("(")) => {
                self.at += 1;
                let inner = self.inner(scope)?;
                self.expect(")")?;
                inner
            }
            Some(Token::Word(word)) => {
                self.at += 1;
                self.word(&word, scope)?
            }
            _ => return Err(self.here()),
        };
        Ok(if minus { Number(-value.number()) } else { value })
    }

    /// What is in parentheses: an expression, or a query whose first value counts.
    fn inner(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        if !matches!(self.tokens.get(self.at), Some(Token::Word(w)) if w == "select") {
            return self.expression(scope);
        }
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err("parser stack overflow".to_owned());
        }
        let rows = self.query(scope)?;
        self.depth -= 1;
        Ok(rows.into_iter().next().and_then(|row| row.into_iter().next()).unwrap_or(Null))
    }

    fn word(&mut self, word: &str, scope: &Scope<'_>) -> Outcome<Value> {
        match word {
            "null" => return Ok(Null),
            "true" => return Ok(Value::truth(true)),
            "false" => return Ok(Value::truth(false)),
            "case" => return self.case(scope),
            "exists" => {
                self.expect("(")?;
                let rows = self.query(scope)?;
                self.expect(")")?;
                return Ok(Value::truth(!rows.is_empty()));
            }
            _ => {}
        }
        if self.take("(") {
            return self.call(word, scope);
        }
        // `table.column` says no more than the column.
        let column = if self.take(".") {
            match self.tokens.get(self.at) {
                Some(Token::Word(column)) => {
                    self.at += 1;
                    column.clone()
                }
                _ => return Err(self.here()),
            }
        } else {
            word.to_owned()
        };
        let at = scope.columns.iter().position(|c| *c == column);
        at.and_then(|at| scope.row.get(at).cloned()).ok_or_else(|| format!("no such column: {column}"))
    }

    fn case(&mut self, scope: &Scope<'_>) -> Outcome<Value> {
        let mut chosen = None;
        while self.take("when") {
            let holds = self.expression(scope)?.is_true();
            self.expect("then")?;
            let value = self.expression(scope)?;
            if holds && chosen.is_none() {
                chosen = Some(value);
            }
        }
        if self.take("else") {
            let value = self.expression(scope)?;
            chosen = chosen.or(Some(value));
        }
        self.expect("end")?;
        Ok(chosen.unwrap_or(Null))
    }

    fn call(&mut self, name: &str, scope: &Scope<'_>) -> Outcome<Value> {
        if name == "count" && self.take("*") {
            self.expect(")")?;
            return Ok(Null);
        }
        let mut arguments = Vec::new();
        if !self.take(")") {
            arguments = vec![self.inner(scope)?];
            if name == "cast" {
                self.expect("as")?;
                self.at += 1;
            }
            while self.take(",") {
                arguments.push(self.inner(scope)?);
            }
            self.expect(")")?;
        }
        let text = || arguments.first().unwrap_or(&Null).to_string();
        Ok(match (name, arguments.len()) {
            ("substr" | "substring", 2 | 3) => {
                let from = (arguments[1].number() as usize).saturating_sub(1);
                let len = arguments.get(2).map_or(usize::MAX, |n| n.number() as usize);
                Text(text().chars().skip(from).take(len).collect())
            }
            ("length", 1) => Number(text().chars().count() as f64),
            ("lower", 1) => Text(text().to_lowercase()),
            ("upper", 1) => Text(text().to_uppercase()),
            ("hex", 1) => Text(text().bytes().map(|b| format!("{b:02X}")).collect()),
            ("unicode", 1) => text().chars().next().map_or(Null, |c| Number(f64::from(u32::from(c)))),
            ("abs", 1) => Number(arguments[0].number().abs()),
            ("char", _) => {
                let char = |n: &Value| char::from_u32(n.number() as u32).unwrap_or('?');
                Text(arguments.iter().map(char).collect())
            }
            ("coalesce" | "ifnull", _) => arguments.iter().find(|a| **a != Null).cloned().unwrap_or(Null),
            ("cast" | "count" | "max" | "min" | "group_concat", _) => {
                arguments.first().cloned().unwrap_or(Null)
            }
            ("concat", 1..) => Text(arguments.iter().map(ToString::to_string).collect()),
            ("sqlite_version", 0) => Text("3.46.1".to_owned()),
            ("last_insert_rowid", 0) => Number(0.0),
            // One byte at least, however long it is to be.
            ("randomblob", 1) => Text("x".to_owned()),
            ("like", 2) => Value::truth(text() == arguments[1].to_string()),
            _ => return Err(format!("no such function: {}", name.to_uppercase())),
        })
    }
}
