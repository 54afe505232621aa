//! The part of the graphics state that places glyphs: PDF 32000-1, 8.4 and 9.3.

use hayro_font::Font;
use hayro_font::UNITS_PER_EM;
use hayro_font::kurbo::{Affine, Point, Vec2};

/// What `q` saves and `Q` brings back.
#[derive(Clone)]
pub(super) struct State<'a> {
    pub ctm: Affine,
    pub font: Option<Font<'a>>,
    pub font_size: f64,
    pub character_space: f64,
    pub word_space: f64,
    /// 1.0 is the font's own width.
    pub horizontal_scale: f64,
    pub leading: f64,
    pub rise: f64,
}

impl State<'_> {
    pub(super) fn new(ctm: Affine) -> Self {
        Self {
            ctm,
            font: None,
            font_size: 0.0,
            character_space: 0.0,
            word_space: 0.0,
            horizontal_scale: 1.0,
            leading: 0.0,
            rise: 0.0,
        }
    }

    /// Text space to the page, for glyphs drawn at the text matrix.
    pub(super) fn placing(&self, text_matrix: Affine) -> Affine {
        let scale = [
            self.font_size * self.horizontal_scale,
            0.0,
            0.0,
            self.font_size,
            0.0,
            self.rise,
        ];
        self.ctm * text_matrix * Affine::new(scale)
    }

    /// How far a character moves the pen, in unscaled text space.
    pub(super) fn advance(&self, font: &Font<'_>, code: u32, bytes: usize) -> Vec2 {
        let glyph = font.code_advance(code) / f64::from(UNITS_PER_EM) * self.font_size;
        let word = if code == 32 && bytes == 1 {
            self.word_space
        } else {
            0.0
        };
        let space = self.character_space + word;
        if font.is_horizontal() {
            Vec2::new((glyph.x + space) * self.horizontal_scale, 0.0)
        } else {
            Vec2::new(0.0, glyph.y + space)
        }
    }

    /// How far a number between the strings of `TJ` moves the pen.
    pub(super) fn adjustment(&self, thousandths: f64) -> Vec2 {
        let moved = -thousandths / f64::from(UNITS_PER_EM) * self.font_size;
        match &self.font {
            Some(font) if !font.is_horizontal() => Vec2::new(0.0, moved),
            _ => Vec2::new(moved * self.horizontal_scale, 0.0),
        }
    }
}

/// A character as it stands on the page. Lengths are in points, y grows upwards.
#[derive(Clone, Copy)]
pub(super) struct Placed {
    /// Where the pen stood, and where it went.
    pub start: Point,
    pub end: Point,
    /// The direction of the line, of length 1.
    pub direction: Vec2,
    /// The font's height.
    pub em: f64,
}
