//~ E0423
//! That a connection only observes is said by its config, until its day is over: nobody else may say so.
use callgate::gate::Observing;

pub fn case() -> Observing {
    Observing(())
}
