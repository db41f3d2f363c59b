import { type ReactNode, useState } from "react";
import { type CallDetail, get, type Head, type Part, type Problem, problemOf, type RecordView, type Replay, save } from "./api";
import { useData, useLive, useTitle } from "./hooks";
import { Block, bytes, Facts, field, Link, Outcome, readable, RequestHead, Shown, Time, Trouble, Waiting, words } from "./ui";

const ENDED = new Set(["open", "pending", "approved", "executing"]);

export function CallPage({ id }: { id: string }) {
  useTitle("Call");
  const live = useLive();
  const [over, setOver] = useState(false);
  const { data, problem } = useData<CallDetail>(`/calls/${id}`, over ? 0 : live.records);
  // A call that has ended, and that a head covers, does not change any more.
  if (data && !over && !ENDED.has(data.summary.outcome) && data.proof.covered) setOver(true);
  if (!data) return problem ? <Trouble problem={problem} /> : <Waiting />;
  const { summary, records, proof } = data;
  return (
    <article className="call">
      <p>
        <Link to="/calls">← Calls</Link>
      </p>
      <h1>
        {summary.function ?? "Undeclared function"} <Outcome word={summary.outcome} detail={summary.reason} />
      </h1>
      <Facts
        facts={[
          ["call", <code>{summary.call}</code>],
          ["caller", <Shown text={`${summary.issuer}/${summary.subject ?? summary.subject_ref} (${summary.principal_kind})`} />],
          ["when", <Time at={summary.at} />],
          ["status", summary.status ?? "—"],
          ["took", summary.total_ms === null ? "—" : `${summary.total_ms} ms`],
        ]}
      />
      <div className="columns">
        <section aria-label="Timeline">
          <h2>From token to record</h2>
          <Timeline detail={data} />
        </section>
        <section aria-label="Content">
          <h2>Content</h2>
          <Content id={id} detail={data} />
        </section>
      </div>
      <section>
        <h2>Evidence</h2>
        <Proof id={id} covered={proof.covered} size={proof.head_size} at={proof.head_at} content={data.may_replay} />
        {records.map((record) => (
          <details key={record.index} className="leaf">
            <summary>
              <code>#{record.index}</code> {record.kind}
            </summary>
            <Block label={`record ${record.index}`} text={JSON.stringify(record.fields, null, 2)} />
          </details>
        ))}
      </section>
    </article>
  );
}

type Step = { name: string; at?: string; good: string; lines: ReactNode[] };

function when(record: RecordView | undefined): string | undefined {
  const at = record?.fields.t;
  return typeof at === "string" ? at.replace(/(\.\d{3})\d*Z/, "$1Z") : undefined;
}

function steps({ summary, records }: CallDetail): Step[] {
  const of = (kind: string) => records.find((record) => record.kind === kind);
  const first = records.find((record) => record.kind !== "audit.read");
  const begin = of("call.begin");
  const end = of("call.end");
  const deny = of("call.deny");
  const told = begin ?? deny ?? first;
  const out: Step[] = [];
  const groups = words(field(begin?.content, "principal", "groups"));
  out.push({
    name: "Token",
    at: when(first),
    good: "good",
    lines: [
      `${words(told?.fields.auth)} by ${words(told?.fields.issuer)}, ${words(told?.fields.algorithm)}`,
      groups && `groups ${groups}`,
    ],
  });
  const policies = words(begin?.fields.policies ?? deny?.fields.policies);
  const ask = of("approval.ask");
  out.push({
    name: "Policy",
    at: when(told),
    good: deny ? "bad" : "good",
    lines: [
      deny ? `denied: ${words(deny.fields.reason)}` : ask ? `asked people: ${words(ask.fields.rules)}` : "allowed",
      policies && `by ${policies}`,
    ],
  });
  if (ask) {
    const votes = records.filter((record) => record.kind === "approval.vote");
    const ended = records.find((record) => record.kind === "approval.cancel" || record.kind === "approval.expire");
    out.push({
      name: "Approval",
      at: when(votes.at(-1) ?? ask),
      good: ended ? "bad" : votes.length > 0 ? "good" : "waits",
      lines: [
        ...votes.map((vote) => (
          <Shown
            key={vote.index}
            text={`${words(vote.fields.vote)} by ${words(vote.fields.issuer)}/${words(field(vote.content, "subject")) || "someone"}${
              words(field(vote.content, "content", "reason")) && `: ${words(field(vote.content, "content", "reason"))}`
            }`}
          />
        )),
        votes.length === 0 && !ended && "waits for people",
        ended && `ended: ${ended.kind === "approval.expire" ? "nobody decided in time" : words(ended.fields.reason)}`,
      ],
    });
  }
  if (begin) {
    const credential = begin.fields.credential;
    out.push({
      name: "Credential",
      good: "good",
      lines: [credential ? `${words(field(credential, "name"))}, version ${words(field(credential, "version"))}` : "none is presented"],
    });
    out.push({
      name: "Upstream",
      at: when(begin),
      good: end ? (summary.outcome === "ok" ? "good" : "bad") : "waits",
      lines: [
        `${words(begin.fields.method)} ${words(begin.fields.upstream)}`,
        end && `status ${words(end.fields.status)}${summary.total_ms === null ? "" : `, ${summary.total_ms} ms in all`}`,
      ],
    });
    const masked = Object.entries(summary.masked);
    out.push({
      name: "Masking",
      good: words(begin.fields.mask) === "on" ? "good" : "waits",
      lines: [
        `mask ${words(begin.fields.mask)}`,
        masked.length > 0 ? masked.map(([name, count]) => `${name} × ${count}`).join(", ") : end && "nothing was found to mask",
      ],
    });
  }
  out.push({
    name: "Record",
    at: when(end ?? deny ?? records.at(-1)),
    good: end || deny ? "good" : "waits",
    lines: [`${records.length} records, ${words(begin?.fields.durability ?? "synced")}`, end ? "the end is on stable storage" : ""],
  });
  return out;
}

function Timeline({ detail }: { detail: CallDetail }) {
  return (
    <ol className="timeline">
      {steps(detail).map((step) => (
        <li key={step.name} className={step.good}>
          <span className="row">
            <strong>{step.name}</strong>
            {step.at && (
              <span className="soft">
                <Time at={step.at} />
              </span>
            )}
          </span>
          {step.lines.filter(Boolean).map((line, index) => (
              <div key={index} className="soft">
              {line}
            </div>
          ))}
        </li>
      ))}
    </ol>
  );
}

function parsed(part: Part): Head | null {
  try {
    return part.text ? JSON.parse(part.text) : null;
  } catch {
    return null;
  }
}

function Content({ id, detail }: { id: string; detail: CallDetail }) {
  const [replay, setReplay] = useState<Replay | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const began = detail.records.some((record) => record.kind === "call.begin");
  if (!began) return <p className="soft">Nothing was sent: there is nothing to replay.</p>;
  if (!detail.may_replay) return <p className="soft">Policy does not permit you to see what was sent and released (audit.replay).</p>;
  const show = () =>
    get<Replay>(`/calls/${id}/replay`).then(setReplay, (error: unknown) => setProblem(problemOf(error)));
  if (!replay) {
    return (
      <>
        <p>What was sent and what was released can be shown again. Nothing runs, and that you look is recorded.</p>
        {problem && <Trouble problem={problem} />}
        <button type="button" onClick={() => void show()}>
          Replay
        </button>
      </>
    );
  }
  const request = parsed(replay.request_head);
  const released = parsed(replay.released_head);
  return (
    <>
      <p role="status" className={replay.verified ? "good" : "bad"}>
        {replay.verified ? "What is shown matches its commitments." : "WHAT IS SHOWN DOES NOT MATCH ITS COMMITMENTS."}
        {replay.truncated && " Content beyond the capture limit is missing."}
      </p>
      <h3>Request</h3>
      {request && <RequestHead head={request} />}
      <PartBlock part={replay.request_body} label="request body" />
      <h3>Released answer</h3>
      {released && <RequestHead head={released} />}
      <PartBlock part={replay.released_body} label="released body" />
    </>
  );
}

function PartBlock({ part, label }: { part: Part; label: string }) {
  if (part.kept_bytes === 0 && !part.total_bytes) return <p className="soft">Without a body.</p>;
  return (
    <>
      <Block label={label} text={part.text !== null ? readable(part.text) : (part.base64 ?? "")} />
      <p className="soft">
        {bytes(part.kept_bytes)}
        {part.text === null && " in base64"}
        {part.total_bytes !== null && part.total_bytes !== part.kept_bytes && ` of ${bytes(part.total_bytes)}`}
        {part.cut && `, cut by ${part.cut}`}
        {part.verified === true && ", verified"}
        {part.verified === false && <strong className="bad">, DOES NOT MATCH</strong>}
      </p>
    </>
  );
}

function Proof({ id, covered, size, at, content }: { id: string; covered: boolean; size: number | null; at: string | null; content: boolean }) {
  const [problem, setProblem] = useState<Problem | null>(null);
  const keep = (path: string, name: string) => {
    setProblem(null);
    save(path, name).catch((error: unknown) => setProblem(problemOf(error)));
  };
  return (
    <>
      <p className={covered ? "good" : "soft"}>
        {covered ? `Covered by the signed head over ${size} records` : "No signed head covers all of it yet; one comes within a second"}
        {covered && at && (
          <>
            {" of "}
            <Time at={at} />
          </>
        )}
        .
      </p>
      {problem && <Trouble problem={problem} />}
      <p className="buttons">
        <button type="button" disabled={!covered} onClick={() => keep(`/calls/${id}/proof`, `${id}.tlog-proof`)}>
          Save the proof
        </button>
        <button type="button" disabled={!covered} onClick={() => keep(`/calls/${id}/evidence`, `evidence-${id}.tar`)}>
          Save the evidence
        </button>
        {content && (
          <button type="button" disabled={!covered} onClick={() => keep(`/calls/${id}/evidence?content=true`, `evidence-${id}.tar`)}>
            Save it with content
          </button>
        )}
      </p>
      <p className="soft">
        The proof is one file that other tools check too. The evidence is an archive with the records, the approval and a page to read; <code>callgate audit verify</code>{" "}
        checks it offline.{content && " With content, it also says who it was and what was sent and released: handing it on hands that on."}
      </p>
    </>
  );
}
