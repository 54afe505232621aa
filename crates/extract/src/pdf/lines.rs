//! Characters on a page to lines and paragraphs.
//!
//! The order is the one in which the page draws its text, which writers keep to reading order and which, unlike an order
//! by height, does not mix columns. White space is what the distances say: PDF has no lines, and often no spaces either.

use std::collections::VecDeque;

use hayro_font::kurbo::Vec2;

use super::state::Placed;

/// A wider gap, in ems, is a space. TeX shrinks its spaces to 0.22; kerning and letter-spacing stay below 0.15.
const SPACE_EMS: f64 = 0.17;
/// A baseline further away, in ems, is another line. Raised and lowered characters stay within.
const LINE_EMS: f64 = 0.62;
/// A line further away than so many usual distances, or so many ems before there is a usual one, begins a paragraph.
const PARAGRAPH_LINES: f64 = 1.3;
const PARAGRAPH_EMS: f64 = 1.9;
/// The same character drawn again so near, in ems, makes it bold or is its shadow. It is nearer than half its own width:
/// condensed letters that stand twice in a word are as near in ems.
const OVERPRINT_EMS: f64 = 0.12;
const OVERPRINT_WIDTHS: f64 = 0.5;
/// Characters written last among which one that is drawn again is looked for.
const REMEMBERED: usize = 256;

/// A character that was written.
struct Last {
    at: Placed,
    character: char,
}

/// The text of a page while it is laid out.
#[derive(Default)]
pub(super) struct Lines {
    text: String,
    /// What was written last, in order.
    written: VecDeque<Last>,
    /// While a run is drawn again: the place in `written` of what comes next.
    again: Option<usize>,
    /// Where the pen went last, whether that was written or not.
    pen: Option<Placed>,
    /// The baselines' usual distance, once two lines told it.
    leading: Option<f64>,
    space: bool,
}

/// What stands between two characters.
#[derive(Clone, Copy, PartialEq)]
enum Between {
    Nothing,
    Space,
    Line,
    Paragraph,
}

impl Lines {
    pub(super) fn len(&self) -> usize {
        self.text.len()
    }

    /// The laid out text, without white space at its end.
    pub(super) fn finish(mut self) -> String {
        self.text.truncate(self.text.trim_end().len());
        self.text
    }

    pub(super) fn push(&mut self, words: &str, at: Placed) {
        // The letters of one code stand in one place: only the first of them tells whether the pen jumped there.
        let mut is_first = true;
        for character in words.chars() {
            self.character(character, at, is_first);
            is_first &= character.is_whitespace();
        }
    }

    fn character(&mut self, character: char, at: Placed, is_first: bool) {
        if character.is_whitespace() || character == '\u{200b}' {
            self.space = true;
            return;
        }
        if character.is_control() {
            return;
        }
        if self.is_overprint(character, &at, is_first) {
            self.space = false;
            return;
        }
        let Some(last) = self.written.back() else {
            return self.write(character, at);
        };
        match self.between(last, character, &at) {
            Between::Nothing => {}
            Between::Space => self.text.push(' '),
            Between::Line if self.joins_hyphenated(character) => {
                self.text.pop();
            }
            Between::Line => self.text.push('\n'),
            Between::Paragraph => self.text.push_str("\n\n"),
        }
        self.learn_leading(last.at, at);
        self.write(character, at);
    }

    /// Whether a character is one that stands here already. Writers draw words, lines or paragraphs again: only where the
    /// pen jumps may that begin, so that what is spelt twice stays.
    fn is_overprint(&mut self, character: char, at: &Placed, is_first: bool) -> bool {
        let pen = self.pen.replace(*at);
        let place = match (self.again.take(), pen) {
            (Some(next), _) if self.stands(next, character, at) => Some(next),
            (_, Some(pen)) if is_first && pen.jumps_to(at) => (0..self.written.len())
                .rev()
                .find(|place| self.stands(*place, character, at)),
            _ => None,
        };
        self.again = place.map(|place| place + 1);
        place.is_some()
    }

    fn stands(&self, place: usize, character: char, at: &Placed) -> bool {
        let same = self.written.get(place);
        same.is_some_and(|same| same.is_overprint(character, at))
    }

    fn write(&mut self, character: char, at: Placed) {
        match ligature(character) {
            Some(letters) => self.text.push_str(letters),
            None => self.text.push(character),
        }
        self.space = false;
        if self.written.len() == REMEMBERED {
            self.written.pop_front();
        }
        self.written.push_back(Last { at, character });
    }

    fn between(&self, last: &Last, character: char, at: &Placed) -> Between {
        let em = at.em.max(last.at.em);
        let step = at.start - last.at.end;
        let (along, across) = (step.dot(at.direction), step.cross(at.direction).abs());
        if last.at.direction.dot(at.direction) < 0.9 {
            return Between::Paragraph;
        }
        if across > LINE_EMS * em {
            return self.line_or_paragraph(last, at, em);
        }
        if along < -em {
            let width = (last.at.end - last.at.start).dot(at.direction)
                + (at.end - at.start).dot(at.direction);
            let leftwards = is_right_to_left(character) && along >= -width - 0.6 * em;
            return match (leftwards, self.space || along < -width - SPACE_EMS * em) {
                (true, false) => Between::Nothing,
                (true, true) => Between::Space,
                (false, _) if across < 0.1 * em => Between::Space,
                (false, _) => Between::Line,
            };
        }
        if self.space || along > SPACE_EMS * em {
            Between::Space
        } else {
            Between::Nothing
        }
    }

    fn line_or_paragraph(&self, last: &Last, at: &Placed, em: f64) -> Between {
        let down = down(last.at, *at);
        let far = match self.leading {
            Some(leading) => (PARAGRAPH_LINES * leading).max(em),
            None => PARAGRAPH_EMS * em,
        };
        if down < 0.0 || down > far {
            Between::Paragraph
        } else {
            Between::Line
        }
    }

    fn learn_leading(&mut self, last: Placed, at: Placed) {
        let down = down(last, at);
        let em = at.em.max(last.em);
        if down > LINE_EMS * em && down <= PARAGRAPH_EMS * em {
            let learnt = self.leading.unwrap_or(f64::MAX);
            // The smallest distance is the one inside paragraphs; a heading's or a table's is forgotten slowly.
            self.leading = Some(if down < learnt {
                down
            } else {
                learnt + (down - learnt) * 0.1
            });
        }
    }

    /// Whether a word was hyphenated at the end of the line before.
    fn joins_hyphenated(&self, next: char) -> bool {
        let mut ending = self.text.chars().rev();
        let hyphen = matches!(ending.next(), Some('-' | '\u{ad}' | '\u{2010}'));
        hyphen && next.is_lowercase() && ending.next().is_some_and(char::is_alphabetic)
    }
}

impl Last {
    fn is_overprint(&self, character: char, at: &Placed) -> bool {
        let width = (self.at.end - self.at.start).hypot();
        let near = (OVERPRINT_EMS * at.em).min(OVERPRINT_WIDTHS * width);
        self.character == character && (at.start - self.at.start).hypot() < near
    }
}

impl Placed {
    /// Whether the next character does not stand where this one ended, nor a little after.
    fn jumps_to(&self, next: &Placed) -> bool {
        let step = next.start - self.end;
        let width = (self.end - self.start).hypot();
        step.hypot() > 0.5 * next.em || step.dot(next.direction) < -OVERPRINT_WIDTHS * width
    }
}

/// How far the second baseline is below the first.
fn down(first: Placed, second: Placed) -> f64 {
    let up = Vec2::new(-second.direction.y, second.direction.x);
    -(second.start - first.start).dot(up)
}

fn is_right_to_left(character: char) -> bool {
    matches!(character, '\u{590}'..='\u{8ff}' | '\u{fb1d}'..='\u{fdff}' | '\u{fe70}'..='\u{feff}')
}

/// The letters of a Latin ligature: a search for them should find the word.
fn ligature(character: char) -> Option<&'static str> {
    Some(match character {
        'ﬀ' => "ff",
        'ﬁ' => "fi",
        'ﬂ' => "fl",
        'ﬃ' => "ffi",
        'ﬄ' => "ffl",
        'ﬅ' | 'ﬆ' => "st",
        _ => return None,
    })
}
