import { type ReactNode, useState } from "react";
import { type Dead, type LogHead, type Me, post, type Problem, problemOf, query, remove, type Status, type Verified } from "./api";
import { Tile } from "./connections";
import { useData, useLive, useNow, useTitle } from "./hooks";
import { Block, Empty, Facts, Link, Outcome, Shown, span, Time, Trouble, Waiting } from "./ui";

export function AuditPage({ who }: { who: Me }) {
  useTitle("Audit log");
  const live = useLive();
  const now = useNow();
  const { data, problem } = useData<LogHead>("/audit/head", live.records);
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
          <Verify />
          <Witnesses head={data} />
          <Head head={data} />
        </>
      )}
      <Exports />
      <Undelivered who={who} />
    </>
  );
}

function Verify() {
  const [report, setReport] = useState<Verified | null>(null);
  const [failed, setFailed] = useState<Problem | null>(null);
  const [busy, setBusy] = useState(false);
  const verify = async () => {
    setBusy(true);
    setFailed(null);
    try {
      setReport(await query<Verified>("/audit/verify", {}));
    } catch (error) {
      setFailed(problemOf(error));
    } finally {
      setBusy(false);
    }
  };
  return (
    <section>
      <h2>Verify now</h2>
      <p>Reads every record, recomputes the tree, and compares it with every signed head. One verification runs at a time; it reads as fast as the disk gives.</p>
      <button type="button" className="yes" disabled={busy} onClick={() => void verify()}>
        {busy ? "Verifying…" : "Verify the whole log"}
      </button>
      <div aria-live="polite">
        {failed && <Trouble problem={failed} />}
        {report && (
          <p className="said">
            <Outcome word={report.verdict} /> {report.records.toLocaleString()} records
            {report.pruned > 0 && <> (the first {report.pruned.toLocaleString()} are not here any more)</>}, {report.heads.toLocaleString()} signed heads, {report.unsigned} younger
            than the newest; {report.took_ms} ms
            {report.what && <strong className="bad"> {report.what}</strong>}
          </p>
        )}
      </div>
    </section>
  );
}

function Witnesses({ head }: { head: LogHead }) {
  return (
    <section>
      <h2>Witnesses</h2>
      {head.witnesses.length === 0 ? (
        <Empty title="Nobody outside watches this log">
          <p>
            Whoever owns this machine can wind the log back unless somebody elsewhere holds a head. A witness signs each head after it has seen that the log only grew: name one under{" "}
            <code>audit.witnesses</code>, or keep the checkpoint below elsewhere now and then.
          </p>
        </Empty>
      ) : (
        <Table name="Witnesses" columns={["Witness", "Stands", "Has signed", "Behind", "Last signed"]}>
          {head.witnesses.map((one) => (
            <tr key={one.name}>
              <th scope="row">
                <Shown text={one.name} />
              </th>
              <td>
                <Outcome word={one.alarm ? "alarm" : one.signed_ago_s === null ? "open" : "ok"} detail={one.alarm} />
                {!one.alarm && one.last_alarm && one.last_alarm_ago_s !== null && (
                  <div className="soft">
                    {span(one.last_alarm_ago_s * 1000)} ago: <Shown text={one.last_alarm} />
                  </div>
                )}
              </td>
              <td className="num">{one.size.toLocaleString()}</td>
              <td className="num">{one.behind.toLocaleString()}</td>
              <td>{one.signed_ago_s === null ? "never" : `${span(one.signed_ago_s * 1000)} ago`}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

function Head({ head }: { head: LogHead }) {
  return (
    <section>
      <h2>Signed head</h2>
      <Facts
        facts={[
          ["log", <code>{head.origin}</code>],
          ["root", <code>{head.root}</code>],
          ["signed", head.at ? <Time at={head.at} /> : "before the gateway started"],
          ["key", <code>{head.key}</code>],
        ]}
      />
      <p>
        Keep this text somewhere else: whoever holds an old head can prove offline that the log only grew since, with <code>callgate audit verify --since</code> or tools that are
        not ours.
      </p>
      <Block label="checkpoint" text={head.checkpoint.trimEnd()} />
    </section>
  );
}

/** Where records go while the gateway runs. */
function Exports() {
  const live = useLive();
  const { data } = useData<Status>("/status", live.records);
  if (!data) return null;
  return (
    <section>
      <h2>Exports</h2>
      {data.exports.length === 0 ? (
        <Empty title="Records stay here">
          <p>
            Signed records can go to other systems as they come, each at least once: name a sink under <code>audit.export</code>.
          </p>
        </Empty>
      ) : (
        <Table name="Exports" columns={["Sink", "Stands", "Behind", "Oldest", "Refused for good"]}>
          {data.exports.map((one) => (
            <tr key={one.sink}>
              <th scope="row">
                {one.sink} <span className="soft">{one.kind}</span>
              </th>
              <td>
                <Outcome word={one.alarm ? "late" : one.trouble ? "open" : "ok"} detail={one.trouble && <Shown text={one.trouble} />} />
              </td>
              <td className="num">{one.behind.toLocaleString()}</td>
              <td>{one.behind > 0 ? span(one.age_s * 1000) : "—"}</td>
              <td className={one.parked > 0 ? "num bad" : "num"}>{one.parked}</td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

/** Messages that nobody tries to deliver any more. The call waits in the inbox all the same. */
function Undelivered({ who }: { who: Me }) {
  const live = useLive();
  const { data, problem, reload } = useData<Dead[]>("/deliveries/dead", live.records);
  const [failed, setFailed] = useState<Problem | null>(null);
  const act = (what: Promise<unknown>) => {
    setFailed(null);
    what.then(reload, (error: unknown) => setFailed(problemOf(error)));
  };
  return (
    <section>
      <h2>Messages that were not delivered</h2>
      {(problem ?? failed) && <Trouble problem={(problem ?? failed) as Problem} />}
      {data && data.length === 0 && <p className="soft">None. What a channel does not take is tried again, 40 times at most, and then stands here. The call waits in the inbox all the same.</p>}
      {data && data.length > 0 && (
        <Table name="Messages that were not delivered" columns={["Message", "Approval", "Tried", "Why not", ""]}>
          {data.map((one) => (
            <tr key={one.id}>
              <th scope="row">
                {one.channel} <span className="soft">{one.event}</span>
              </th>
              <td>
                <Link to={`/?id=${encodeURIComponent(one.approval)}`}>{one.approval.slice(0, 12)}…</Link>
              </td>
              <td>
                {one.attempts} times, given up <Time at={one.dead_since} />
              </td>
              <td>
                <Shown text={one.failure} />
              </td>
              <td>
                {who.rights.includes("audit.read") && (
                  <span className="buttons">
                    <button type="button" onClick={() => act(post(`/deliveries/dead/${encodeURIComponent(one.id)}/retry`))}>
                      Try again
                    </button>
                    <button type="button" onClick={() => act(remove(`/deliveries/dead/${encodeURIComponent(one.id)}`))}>
                      Take off
                    </button>
                  </span>
                )}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

function Table({ name, columns, children }: { name: string; columns: string[]; children: ReactNode }) {
  return (
    <div className="scroll" tabIndex={0} role="region" aria-label={name}>
      <table>
        <thead>
          <tr>
            {columns.map((column) => (
              <th key={column} scope="col">
                {column || <span className="unseen">what to do</span>}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}
