//! Bringing a database up to this program's version.

use super::super::Error;
use super::engine::{Pool, Tx, query};

/// Migrations of one engine: number and text. Never edited once released, only followed by another.
/// Both engines have the same numbers.
pub(super) type Migrations = &'static [(i64, &'static str)];

/// The last migration that was applied; `None` when this is no database of ours yet.
pub(super) async fn version(tx: &mut Tx, known: Migrations) -> Result<Option<i64>, Error> {
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

/// Apply what comes after `from`, each in a transaction of its own.
pub(super) async fn migrate(pool: &Pool, known: Migrations, from: i64) -> Result<(), Error> {
    for (number, text) in known.iter().filter(|(number, _)| *number > from) {
        let mut tx = pool.writing().await?;
        apply(&mut tx, *number, text).await?;
        tx.commit().await?;
    }
    Ok(())
}

async fn apply(tx: &mut Tx, number: i64, text: &'static str) -> Result<(), Error> {
    if number == 1 {
        tx.raw(tx.make_migrations()).await?;
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
