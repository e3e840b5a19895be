//! The recipes that come with Dunlin.
