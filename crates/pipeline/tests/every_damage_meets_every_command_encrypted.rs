//! The grid of `every_damage_meets_every_command.rs` with encrypted repositories: the same rules hold.

#[macro_use]
mod grid;
mod scene;

grid_tests!(scene::encrypt_everything);
