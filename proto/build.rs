//! Generates the wire types from `proto/vigie.proto` without an installed `protoc`.
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo:rerun-if-changed=proto/vigie.proto");
    let descriptors = protox::compile(["vigie.proto"], ["proto"])?;
    // A key shows in no debug dump of a configuration.
    tonic_prost_build::configure().skip_debug([".vigie.v1.MeshLink"]).compile_fds(descriptors)?;
    Ok(())
}
