// SPDX-License-Identifier: Apache-2.0
//
// The same for jaq.
//
//     jaq PROGRAM ROUNDS < DOCUMENT
use jaq_core::load::{Arena, File, Loader};
use jaq_core::{data, unwrap_valr, Compiler, Ctx, Vars};
use jaq_json::{read, write, Val};
use std::io::{Read, Write};

fn cpu_ns() -> i64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut now) };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let rounds: i64 = arguments[2].parse().unwrap();
    let mut document = Vec::new();
    std::io::stdin().read_to_end(&mut document).unwrap();
    let defs = jaq_core::defs().chain(jaq_std::defs()).chain(jaq_json::defs());
    let funs = jaq_core::funs().chain(jaq_std::funs()).chain(jaq_json::funs());
    let arena = Arena::default();
    let program = File { code: arguments[1].as_str(), path: () };
    let Ok(modules) = Loader::new(defs).load(&arena, program) else { std::process::exit(2) };
    let Ok(filter) = Compiler::default().with_funs(funs).compile(modules) else {
        std::process::exit(2)
    };
    let mut text = Vec::new();
    let start = cpu_ns();
    for _ in 0..rounds.max(1) {
        let input = read::parse_single(&document).unwrap();
        let ctx = Ctx::<data::JustLut<Val>>::new(&filter.lut, Vars::new([]));
        for result in filter.id.run((ctx, input)).map(unwrap_valr) {
            let Ok(value) = result else { std::process::exit(1) };
            text.clear();
            write::write(&mut text, &write::Pp::default(), 0, &value).unwrap();
            if rounds == 0 {
                text.push(b'\n');
                std::io::stdout().write_all(&text).unwrap();
            }
        }
    }
    if rounds > 0 {
        println!("{}", (cpu_ns() - start) / rounds);
    }
}
