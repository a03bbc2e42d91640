use bytes::Bytes;
use plumb_filetree::*;
use plumb_kustomize::*;
use std::path::Path;
fn add(b: &mut TreeBuilder, d: &Path, p: &RelPath) {
    for e in std::fs::read_dir(d).unwrap() {
        let e = e.unwrap();
        let c = p.child(&e.file_name().to_string_lossy()).unwrap();
        if e.path().is_dir() {
            add(b, &e.path(), &c)
        } else {
            b.file(&c, Bytes::from(std::fs::read(e.path()).unwrap()), false).unwrap();
        }
    }
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let mut b = MemoryTree::builder(TreeLimits::DEFAULT);
    add(&mut b, Path::new(&a[1]), &RelPath::root());
    let t = b.build();
    let target = RelPath::parse(a.get(2).map_or("", |s| if s == "." { "" } else { s })).unwrap();
    let n: usize = a.get(3).map_or(0, |n| n.parse().unwrap());
    if n > 0 {
        let mut v = vec![];
        for _ in 0..n {
            let s = std::time::Instant::now();
            let r = build(&t, &target, &Options::default()).unwrap();
            let s1 = s.elapsed();
            let y = r.to_yaml();
            v.push((s.elapsed(), s1, y.len()));
        }
        v.sort();
        println!("{:?} min {:?}", v[n / 2], v[0]);
        let st = std::fs::read_to_string("/proc/self/status").unwrap();
        println!("{}", st.lines().find(|l| l.starts_with("VmHWM")).unwrap());
        return;
    }
    match build(&t, &target, &Options { reach: Reach::OwnDirectory, ..Options::default() }) {
        Ok(b) => {
            for w in &b.warnings {
                eprintln!("warn: {w}");
            }
            print!("{}", b.to_yaml())
        }
        Err(e) => {
            eprintln!("Error: {e}");
            std::process::exit(1)
        }
    }
}
