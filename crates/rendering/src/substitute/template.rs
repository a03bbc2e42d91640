//! Reads a text with `${…}` in it.

use std::collections::BTreeSet;

/// Expressions inside each other.
const DEPTH_MAX: usize = 50;

/// A piece of a template.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Part {
    Text(String),
    Expression(Expression),
}

/// `${name…}`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Expression {
    pub name: String,
    pub act: Act,
}

/// Adds the names of all variables, those inside of defaults and patterns too. The nesting is limited by the parser.
pub(super) fn names(parts: &[Part], into: &mut BTreeSet<String>) {
    for part in parts {
        let Part::Expression(Expression { name, act }) = part else { continue };
        into.insert(name.clone());
        let mut one = |part: &Part| names(std::slice::from_ref(part), into);
        match act {
            Act::Plain | Act::Length | Act::Case(_) => {}
            Act::Default(parts) => parts.iter().for_each(one),
            Act::Slice(first, second) | Act::Replace(_, first, second) => {
                one(first);
                if let Some(second) = second {
                    one(second);
                }
            }
            Act::Trim(_, _, part) => one(part),
        }
    }
}

/// What is done with the value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Act {
    /// `${v}`
    Plain,
    /// `${#v}`
    Length,
    /// `${v=d}`, `${v:=d}`, `${v:-d}` and, with the same meaning, `${v:?d}` and `${v:+d}`.
    Default(Vec<Part>),
    /// `${v^}`, `${v^^}`, `${v,}`, `${v,,}`
    Case(Case),
    /// `${v:from}`, `${v:from:length}`
    Slice(Box<Part>, Option<Box<Part>>),
    /// `${v#p}`, `${v##p}`, `${v%p}`, `${v%%p}`
    Trim(End, Reach, Box<Part>),
    /// `${v/p/r}`, `${v//p/r}`, `${v/#p/r}`, `${v/%p/r}`
    Replace(Where, Box<Part>, Option<Box<Part>>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Case {
    UpperFirst,
    Upper,
    LowerFirst,
    Lower,
    /// A mixture of both marks means nothing.
    Same,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Start,
    Back,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reach {
    Shortest,
    Longest,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Where {
    First,
    All,
    Start,
    Back,
}

/// Parses a template. `$$` is a dollar sign, `$name` is literal.
pub(super) fn parse(text: &str) -> Result<Vec<Part>, String> {
    let mut scanner = Scanner { text, position: 0, depth: 0 };
    let mut parts = Vec::new();
    let mut literal = String::new();
    while let Some(c) = scanner.peek() {
        if scanner.take("$$") {
            literal.push('$');
        } else if scanner.take("${") {
            if !literal.is_empty() {
                parts.push(Part::Text(std::mem::take(&mut literal)));
            }
            parts.push(Part::Expression(scanner.expression()?));
        } else {
            literal.push(c);
            scanner.position += c.len_utf8();
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}

const BAD: &str = "bad substitution";
const BAD_PARAMETER: &str = "unable to parse substitution within function";

/// Where a parameter ends, and whether backslashes and doubled dollars escape in it.
#[derive(Clone, Copy)]
struct Stop {
    at: &'static [char],
    is_escaped: bool,
}

const CLOSING: Stop = Stop { at: &['}'], is_escaped: false };
const COLON: Stop = Stop { at: &[':', '}'], is_escaped: false };
const SLASH: Stop = Stop { at: &['/'], is_escaped: true };
const CLOSING_ESCAPED: Stop = Stop { at: &['}'], is_escaped: true };

struct Scanner<'t> {
    text: &'t str,
    position: usize,
    depth: usize,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.text[self.position..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn take(&mut self, expected: &str) -> bool {
        let is_there = self.rest().starts_with(expected);
        if is_there {
            self.position += expected.len();
        }
        is_there
    }

    fn close(&mut self) -> Result<(), String> {
        if self.take("}") { Ok(()) } else { Err(BAD.to_owned()) }
    }

    /// What follows `${`. The depth is limited, and so is the recursion.
    fn expression(&mut self) -> Result<Expression, String> {
        if self.depth == DEPTH_MAX {
            return Err(format!("more than {DEPTH_MAX} expressions inside each other"));
        }
        self.depth += 1;
        let expression = if self.take("#") {
            let name = self.name().ok_or_else(|| BAD.to_owned())?;
            self.close()?;
            Expression { name, act: Act::Length }
        } else {
            let name = self.name().ok_or_else(|| "unable to parse variable name".to_owned())?;
            let act = self.act()?;
            Expression { name, act }
        };
        self.depth -= 1;
        Ok(expression)
    }

    fn name(&mut self) -> Option<String> {
        let is_end = |c: char| !(c.is_alphanumeric() || c == '_');
        let length = self.rest().find(is_end).unwrap_or(self.rest().len());
        let name = self.rest()[..length].to_owned();
        self.position += length;
        (!name.is_empty()).then_some(name)
    }

    fn act(&mut self) -> Result<Act, String> {
        match self.peek() {
            Some(':') => {
                if [":=", ":-", ":?", ":+"].into_iter().any(|mark| self.take(mark)) {
                    self.default()
                } else {
                    self.slice()
                }
            }
            Some('=') => {
                self.position += 1;
                self.default()
            }
            Some('^' | ',') => self.case(),
            Some('/') => self.replace(),
            Some('#') => self.trim("#", End::Start),
            Some('%') => self.trim("%", End::Back),
            Some('}') => {
                self.position += 1;
                Ok(Act::Plain)
            }
            _ => Err("missing closing brace".to_owned()),
        }
    }

    fn default(&mut self) -> Result<Act, String> {
        let mut parts = Vec::new();
        while !self.take("}") {
            parts.push(self.parameter(CLOSING)?);
        }
        Ok(Act::Default(parts))
    }

    fn slice(&mut self) -> Result<Act, String> {
        self.position += 1;
        let from = Box::new(self.parameter(COLON)?);
        if self.take("}") {
            return Ok(Act::Slice(from, None));
        }
        if !self.take(":") {
            return Err(BAD.to_owned());
        }
        let length = Box::new(self.parameter(CLOSING)?);
        self.close()?;
        Ok(Act::Slice(from, Some(length)))
    }

    fn case(&mut self) -> Result<Act, String> {
        let length = self.rest().chars().take(2).take_while(|c| matches!(c, '^' | ',')).count();
        let case = match &self.rest()[..length] {
            "^" => Case::UpperFirst,
            "^^" => Case::Upper,
            "," => Case::LowerFirst,
            ",," => Case::Lower,
            _ => Case::Same,
        };
        self.position += length;
        self.close()?;
        Ok(Act::Case(case))
    }

    fn trim(&mut self, mark: &str, end: End) -> Result<Act, String> {
        self.take(mark);
        let reach = if self.take(mark) { Reach::Longest } else { Reach::Shortest };
        let pattern = Box::new(self.parameter(CLOSING)?);
        self.close()?;
        Ok(Act::Trim(end, reach, pattern))
    }

    fn replace(&mut self) -> Result<Act, String> {
        self.take("/");
        let place = if self.take("/") {
            Where::All
        } else if self.take("#") {
            Where::Start
        } else if self.take("%") {
            Where::Back
        } else {
            Where::First
        };
        let pattern = Box::new(match self.peek() {
            Some('/') => Part::Text(String::new()),
            _ => self.parameter(SLASH)?,
        });
        if !self.take("/") {
            return Err(BAD.to_owned());
        }
        while self.take("/") {}
        if self.take("}") {
            return Ok(Act::Replace(place, pattern, None));
        }
        let new = Box::new(self.parameter(CLOSING_ESCAPED)?);
        self.close()?;
        Ok(Act::Replace(place, pattern, Some(new)))
    }

    /// One expression, or a text that is not empty up to a stop or to an expression.
    fn parameter(&mut self, stop: Stop) -> Result<Part, String> {
        if self.take("${") {
            return self.expression().map(Part::Expression);
        }
        let mut text = String::new();
        while let Some(c) = self.peek() {
            if self.rest().starts_with("${") {
                break;
            }
            let escaped = ["$$", "\\/", "\\\\"].iter().find(|escape| self.rest().starts_with(**escape));
            if let (true, Some(escape)) = (stop.is_escaped, escaped) {
                text.push_str(&escape[1..]);
                self.position += escape.len();
                continue;
            }
            if stop.at.contains(&c) {
                break;
            }
            text.push(c);
            self.position += c.len_utf8();
        }
        if text.is_empty() { Err(BAD_PARAMETER.to_owned()) } else { Ok(Part::Text(text)) }
    }
}
