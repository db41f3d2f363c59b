//! Bringing a database up to this program's version.

use super::super::Error;
use super::engine::{Pool, Tx};
use super::query::query;

/// Migrations of one engine: number and text. Never edited once released, only followed by another.
/// Both engines have the same numbers.
pub(super) type Migrations = &'static [(i64, &'static str)];

/// The last migration that was applied; `None` when this is no database of ours yet.
async fn version(tx: &mut Tx, known: Migrations) -> Result<Option<i64>, Error> {
    let table = query(tx.find_migrations()).fetch_optional(&mut *tx).await?;
    if table.is_none() {
        return Ok(None);
    }
    let newest = known.last().map_or(0, |(number, _)| *number);
    let applied = query("SELECT number, digest FROM migrations ORDER BY number")
        .fetch_all(&mut *tx)
        .await?;
    let mut last = 0;
    for row in applied {
        let number: i64 = row.try_get("number")?;
        let digest: Vec<u8> = row.try_get("digest")?;
        match known.iter().find(|(ours, _)| *ours == number) {
            Some((_, text)) if digest_of(text) == digest => last = number,
            Some(_) => return Err(Error::Altered(number)),
            None => {
                return Err(Error::Newer {
                    found: number,
                    known: newest,
                });
            }
        }
    }
    Ok(Some(last))
}

/// Bring the database up, in one transaction. `false` when it is no database of ours yet, and nothing
/// was made because it was not asked for.
pub(super) async fn bring_up(pool: &Pool, known: Migrations, make: bool) -> Result<bool, Error> {
    let mut tx = pool.writing().await?;
    tx.hold_schema().await?;
    let from = match version(&mut tx, known).await? {
        None if !make => return Ok(false),
        from => from.unwrap_or(0),
    };
    for (number, text) in known.iter().filter(|(number, _)| *number > from) {
        apply(&mut tx, *number, text).await?;
    }
    tx.commit().await?;
    Ok(true)
}

async fn apply(tx: &mut Tx, number: i64, text: &'static str) -> Result<(), Error> {
    if number == 1 {
        let table = tx.make_migrations();
        tx.raw(table).await?;
    }
    tx.raw(text).await?;
    query("INSERT INTO migrations (number, digest) VALUES ($1, $2)")
        .bind(number)
        .bind(digest_of(text))
        .execute(&mut *tx)
        .await?;
    Ok(())
}

fn digest_of(text: &str) -> Vec<u8> {
    aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes())
        .as_ref()
        .to_vec()
}
