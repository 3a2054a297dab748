//! Generates the wire types from `proto/vigie.proto` without an installed `protoc`.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/vigie.proto");
    let descriptors = protox::compile(["vigie.proto"], ["proto"])?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
