mod cohort;
mod evaluate;
mod models;
