import { useState } from "react";
import { type LogHead, post, Problem, type Verified } from "./api";
import { Tile } from "./connections";
import { useData, useLive, useNow, useTitle } from "./hooks";
import { Block, Facts, Outcome, span, Time, Trouble, Waiting } from "./ui";

export function AuditPage() {
  useTitle("Audit log");
  const live = useLive();
  const now = useNow();
  const { data, problem } = useData<LogHead>("/audit/head", live.records);
  const [report, setReport] = useState<Verified | null>(null);
  const [failed, setFailed] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const verify = async () => {
    setBusy(true);
    setFailed(null);
    try {
      setReport(await post<Verified>("/audit/verify", {}));
    } catch (error) {
      setFailed(error instanceof Problem ? error : new Problem(0, "internal", String(error)));
    } finally {
      setBusy(false);
    }
  };
  return (
    <>
      <h1>Audit log</h1>
      {problem && <Trouble problem={problem} />}
      {!data && !problem && <Waiting />}
      {data && (
        <>
          <div className="tiles">
            <Tile name="records" value={data.records.toLocaleString()} />
            <Tile name="under the signed head" value={data.size.toLocaleString()} />
            <Tile name="not yet covered" value={data.records - data.size} />
            <Tile name="head signed" value={data.at ? `${span(now - new Date(data.at).getTime())} ago` : "before the start"} />
          </div>
          <section>
            <h2>Verify now</h2>
            <p>Reads every record, recomputes the tree, and compares it with every signed head.</p>
            <button type="button" className="yes" disabled={busy} onClick={() => void verify()}>
              {busy ? "Verifying…" : "Verify the whole log"}
            </button>
            <div aria-live="polite">
              {failed && <Trouble problem={failed} />}
              {report && (
                <p className="said">
                  <Outcome word={report.verdict} /> {report.records.toLocaleString()} records
                  {report.pruned > 0 && <> (the first {report.pruned.toLocaleString()} are not here any more)</>}, {report.heads.toLocaleString()} signed heads, {report.unsigned}{" "}
                  younger than the newest; {report.took_ms} ms
                  {report.what && <strong className="bad"> {report.what}</strong>}
                </p>
              )}
            </div>
          </section>
          <section>
            <h2>Signed head</h2>
            <Facts
              facts={[
                ["log", <code>{data.origin}</code>],
                ["root", <code>{data.root}</code>],
                ["signed", data.at ? <Time at={data.at} /> : "before the gateway started"],
                ["key", <code>{data.key}</code>],
              ]}
            />
            <p>
              Keep this text somewhere else: whoever holds an old head can prove offline that the log only grew since, with <code>callgate audit verify --since</code> or tools
              that are not ours.
            </p>
            <Block label="checkpoint" text={data.checkpoint.trimEnd()} />
          </section>
        </>
      )}
    </>
  );
}
