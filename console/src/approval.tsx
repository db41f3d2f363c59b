import { type ReactNode, useEffect, useRef } from "react";
import type { Approval, ApprovalHead, CallsPage, Me, Question, Shown as ShownCall, ShownText, SinceLast } from "./api";
import { RulePart } from "./decide";
import { useData, useLive } from "./hooks";
import { Block, bytes, Effect, Facts, Link, Outcome, readable, RequestHead, Shown, Time, Trouble } from "./ui";

/** What is asked, whole, and the rules that ask. */
export function Detail({ id, who, decided, close }: { id: string; who: Me; decided: () => void; close: () => void }) {
  const live = useLive();
  const { data, problem, reload } = useData<Approval>(`/approvals/${encodeURIComponent(id)}`, live.records);
  const title = useRef<HTMLHeadingElement>(null);
  const there = data !== undefined;
  useEffect(() => {
    if (there) title.current?.focus({ preventScroll: true });
  }, [there]);
  return (
    <section className="detail" aria-label="What is asked">
      <button type="button" className="quiet back" onClick={close}>
        ← All that wait
      </button>
      {problem && <Trouble problem={problem} />}
      {data && (
        <>
          <h1 ref={title} tabIndex={-1}>
            {data.head.function} <Effect effect={data.head.effect} />
          </h1>
          <Facts facts={facts(data, who)} />
          <h2>What will be sent</h2>
          {data.shown && <Hidden call={data.shown} />}
          {data.summary?.request && <RequestHead head={data.summary.request} />}
          <Body summary={data.summary} />
          {data.summary && <Since last={data.since_last} />}
          {data.rules.map((rule) => (
            <RulePart key={rule.hash} rule={rule} approval={data} who={who} decided={() => (reload(), decided())} />
          ))}
          <Questions questions={data.recent} />
          {who.rights.includes("audit.read") && <Recent head={data.head} call={data.call} />}
        </>
      )}
    </section>
  );
}

function facts(data: Approval, who: Me): [string, ReactNode][] {
  const { requester, state, cause, asked_at } = data.head;
  const all: [string, ReactNode][] = [
    ["state", <Outcome word={state} detail={cause} />],
    ["asked by", <Shown text={`${requester.issuer}/${requester.subject} (${requester.kind})`} />],
  ];
  if (requester.actors.length > 0) all.push(["acted for by", <Shown text={requester.actors.join(" ← ")} />]);
  const call = who.rights.includes("audit.read") ? <Link to={`/calls/${data.call}`}>{data.call}</Link> : <code>{data.call}</code>;
  all.push(["asked", <Time at={asked_at} />], ["call", call]);
  return all;
}

/** Says how many characters act instead of showing: they stand as codes below, and one can be overlooked. */
function Hidden({ call }: { call: ShownCall }) {
  const texts: (ShownText | null)[] = [call.method, call.target, call.body];
  for (const { name, value } of call.headers) texts.push(name, value);
  const count = texts.reduce((sum, text) => sum + (text?.made_visible ?? 0), 0);
  if (count === 0) return null;
  return (
    <p className="warn" role="note">
      {count === 1 ? "One character" : `${count} characters`} of this call would not show, or would change how the rest shows. What stands as{" "}
      <span className="acts">{"\\u{…}"}</span> is such a one: look twice.
    </p>
  );
}

function Body({ summary }: { summary: Approval["summary"] }) {
  if (!summary) return <p className="soft">The call has ended; its content is in the audit record.</p>;
  const body = summary.body;
  if (!body) return <p className="soft">Without a body.</p>;
  if (body.text !== undefined) return <Block label="request body" text={readable(body.text)} />;
  return (
    <>
      <p className="soft">{bytes((body.hex ?? "").length / 2)} that are no text, hexadecimal:</p>
      <Block label="request body, hexadecimal" text={body.hex ?? ""} />
    </>
  );
}

/** What differs from what this caller asked the last time. */
function Since({ last }: { last: SinceLast | null }) {
  if (!last) return <p className="soft">The first question of this caller about this function that is still known.</p>;
  const told = (
    <>
      <Link to={`/?id=${encodeURIComponent(last.approval)}`}>the last time</Link> (<Outcome word={last.state} />, <Time at={last.asked_at} />)
    </>
  );
  if (last.differences === null) return <p className="soft">Compared with {told}: that input is not kept any more.</p>;
  if (last.differences.length === 0) return <p>The same input as {told}.</p>;
  return (
    <section aria-label="What differs">
      <h2>What differs</h2>
      <p className="soft">From {told}; everything else in the input is the same.</p>
      <div className="scroll" tabIndex={0} role="region" aria-label="Differences">
        <table className="diff">
          <thead>
            <tr>
              <th scope="col">Argument</th>
              <th scope="col">Then</th>
              <th scope="col">Now</th>
            </tr>
          </thead>
          <tbody>
            {last.differences.map((one) => (
              <tr key={one.path.text}>
                <th scope="row">
                  <code>{one.path.text}</code>
                </th>
                <td>
                  <Side value={one.before} />
                </td>
                <td>
                  <Side value={one.now} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function Side({ value }: { value: ShownText | null }) {
  if (!value) return <span className="soft">not there</span>;
  return (
    <code className={value.made_visible > 0 ? "bad" : undefined}>
      <Shown text={value.text} />
    </code>
  );
}

/** The caller's other questions: many of them are a reason to look twice. */
function Questions({ questions }: { questions: Question[] }) {
  if (questions.length === 0) return null;
  return (
    <>
      <h2>This caller's other questions</h2>
      <ul className="recent">
        {questions.map((one) => (
          <li key={one.id}>
            <Link to={`/?id=${encodeURIComponent(one.id)}`}>{one.function}</Link> <Outcome word={one.state} /> <Time at={one.asked_at} />
          </li>
        ))}
      </ul>
    </>
  );
}

function Recent({ head, call }: { head: ApprovalHead; call: string }) {
  const principal = encodeURIComponent(`${head.requester.issuer}/${head.requester.subject}`);
  const { data, problem } = useData<CallsPage>(`/calls?limit=6&principal=${principal}`);
  const others = data?.calls.filter((one) => one.call !== call).slice(0, 5) ?? [];
  return (
    <>
      <h2>This caller's last calls</h2>
      {problem && <Trouble problem={problem} />}
      {data && others.length === 0 && <p className="soft">None but this one.</p>}
      <ul className="recent">
        {others.map((one) => (
          <li key={one.call}>
            <Link to={`/calls/${one.call}`}>{one.function ?? "undeclared function"}</Link> <Outcome word={one.outcome} detail={one.reason} /> <Time at={one.at} />
          </li>
        ))}
      </ul>
    </>
  );
}
