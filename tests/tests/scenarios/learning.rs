//! Learning in the running agent: what is trained, what the gate says, who answers, and what is left
//! of it when the agent is killed or its models are damaged.
//!
//! | file | what |
//! |---|---|
//! | `school` | a world whose agent learns |
//! | `tasks` | what is trained when, what the gate says, how tasks end |
//! | `interrupted` | training that is killed, or whose records go, under way |
//! | `serving` | versions promoted, rolled back, damaged; answers over restarts |
//! | `swap` | another version every second at 5,000 records/s |
//! | `released` | models of one device released to another by way of a centre |
//! | `bad_input` | records, labels, artifacts and disks that no recipe can use |

mod bad_input;
mod interrupted;
mod released;
mod school;
mod serving;
mod swap;
mod tasks;
