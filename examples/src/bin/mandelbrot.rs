//! The Mandelbrot set as a PNG: one array in shared memory, whose rows several workers fill, each its own part in place.
use std::fs::File;
use std::io::BufWriter;
use std::path::PathBuf;

use clap::Parser;
use offspring::shared::{Array, ArrayPart};
use offspring::{Failure, Pool, task};

/// Draws the Mandelbrot set into a PNG file.
#[derive(Parser)]
struct Args {
    /// Pixels from left to right; two thirds as many from top to bottom.
    #[arg(long, default_value_t = 900)]
    width: usize,
    /// The file to write; without, only the number of pixels inside the set is printed.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Processes that draw.
    #[arg(long, default_value_t = 2)]
    workers: usize,
}

const DEPTH: u32 = 255;

/// After how many steps the point leaves the circle of radius 2; `DEPTH` if not before.
fn steps(re: f64, im: f64) -> u32 {
    let (mut x, mut y) = (0.0, 0.0);
    (0..DEPTH)
        .find(|_| {
            (x, y) = (x * x - y * y + re, 2.0 * x * y + im);
            x * x + y * y > 4.0
        })
        .unwrap_or(DEPTH)
}

/// Draws the pixels of a part, wherever in the picture it is; says how many are in the set.
#[task]
fn draw(part: ArrayPart<u8>, width: usize, height: usize) -> Result<usize, Failure> {
    let first = part.range().start;
    let mut inside = 0;
    for (at, pixel) in part.write()?.iter_mut().enumerate() {
        let (column, row) = ((first + at) % width, (first + at) / width);
        let re = 3.0 * column as f64 / width as f64 - 2.2;
        let im = 2.0 * row as f64 / height as f64 - 1.0;
        let steps = steps(re, im);
        inside += usize::from(steps == DEPTH);
        *pixel = (DEPTH - steps) as u8;
    }
    Ok(inside)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args = Args::parse();
    let (width, height) = (args.width, args.width * 2 / 3);
    let picture = Array::<u8>::zeroed(width * height)?;
    let pool = Pool::builder().workers(args.workers).build()?;
    // More parts than workers: rows in the middle take longer.
    let parts = picture.split_by(width * 8)?.into_iter().map(|part| (part, width, height));
    let inside = pool.map(draw, parts)?.into_iter().sum::<Result<usize, Failure>>()?;
    println!("{inside} of {} pixels are in the set", width * height);
    if let Some(path) = args.output {
        let mut encoder = png::Encoder::new(BufWriter::new(File::create(path)?), width as u32, height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::Eight);
        encoder.write_header()?.write_image_data(&picture.lock()?)?;
    }
    Ok(())
}
