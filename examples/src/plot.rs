//! What the plots have in common: pictures as SVG, colours that can be told apart, and a legend.

use anyhow::{Context, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;

/// A part of a picture.
pub type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The picture of `size` pixels that `draw` makes on white, as SVG.
pub fn svg(size: (u32, u32), draw: impl FnOnce(&Area<'_>) -> anyhow::Result<()>) -> anyhow::Result<String> {
    let mut text = String::new();
    {
        let root = SVGBackend::with_string(&mut text, size).into_drawing_area();
        root.fill(&WHITE).map_err(drawing)?;
        draw(&root)?;
        root.present().map_err(drawing)?;
    }
    Ok(text)
}

/// The colour of line `place` of `of`: hues as far apart as can be, the lines that lie side by side in two shades.
pub fn colour(place: usize, of: usize) -> HSLColor {
    let count = |number: usize| f64::from(u32::try_from(number).unwrap_or(u32::MAX));
    let lightness = if place.is_multiple_of(2) { 0.32 } else { 0.5 };
    HSLColor(count(place) / count(of).max(1.0), 0.8, lightness)
}

/// Names the lines, each in its [`colour`].
pub fn legend(area: &Area<'_>, names: &[&str]) -> anyhow::Result<()> {
    for (place, name) in names.iter().enumerate() {
        let y = i32::try_from(place)?.checked_mul(22).and_then(|y| y.checked_add(30)).context("too many lines")?;
        area.draw(&Rectangle::new([(4, y), (24, y.saturating_add(12))], colour(place, names.len()).filled()))
            .map_err(drawing)?;
        area.draw(&Text::new(*name, (30, y), ("sans-serif", 14))).map_err(drawing)?;
    }
    Ok(())
}

/// What the drawing library says, as an error.
pub fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("cannot draw the plot: {error}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_svg_and_names_its_lines() {
        let svg = svg((200, 100), |area| legend(area, &["one", "other"])).unwrap();
        assert!(svg.starts_with("<svg") && svg.trim_end().ends_with("</svg>"), "{svg}");
        assert!(svg.contains("one") && svg.contains("other"), "{svg}");
    }
}
