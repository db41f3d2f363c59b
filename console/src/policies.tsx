import { useState } from "react";
import { type Answer, type Functions, type Me, type Policies, Problem, problemOf, query } from "./api";
import { useData, useTitle } from "./hooks";
import { Simulate } from "./simulate";
import { Empty, Outcome, Trouble, Waiting } from "./ui";

export function PoliciesPage({ who }: { who: Me }) {
  useTitle("Policies");
  const [draft, setDraft] = useState<{ without: string[]; text: string }>({ without: [], text: "" });
  const { data, problem } = useData<Policies>("/policies");
  return (
    <>
      <h1>Policies</h1>
      {problem && <Trouble problem={problem} />}
      {!data && !problem && <Waiting />}
      <div className="columns">
        <section aria-label="Policies in force">
          <h2>
            In force <span className="soft">{data?.policies.length}</span>
          </h2>
          {data && data.policies.length === 0 && (
            <Empty title="No policies">
              <p>Nothing is permitted without one. Put a file such as policies/first.cedar beside the config, and reload.</p>
            </Empty>
          )}
          {data?.policies.map((policy) => (
            <details key={policy.id} className="policy">
              <summary>
                <span className={`effect ${policy.effect}`}>{policy.approval ? "approval" : policy.effect}</span> {policy.id}
                <span className="soft">
                  {" "}
                  {policy.file.split("/").at(-1)}:{policy.line}
                </span>
              </summary>
              {policy.approval && (
                <p className="soft">
                  Opened by {policy.approval.quorum} of {policy.approval.any_of.map((all) => all.join(" and ")).join(", or ")}, within{" "}
                  {Math.round(policy.approval.decide_within_s / 60)} minutes.
                </p>
              )}
              <pre className="block" tabIndex={0} aria-label={`text of ${policy.id}`}>
                {policy.text}
              </pre>
              {who.rights.includes("audit.read") && (
                <button
                  type="button"
                  disabled={draft.without.includes(policy.id)}
                  onClick={() => setDraft({ without: [...draft.without, policy.id], text: `${draft.text && `${draft.text.trimEnd()}\n\n`}${policy.text.trim()}\n` })}
                >
                  {draft.without.includes(policy.id) ? "In the draft" : "Change it in a draft"}
                </button>
              )}
            </details>
          ))}
        </section>
        <div>
          <Playground />
          {who.rights.includes("audit.read") && <Simulate draft={draft} setDraft={setDraft} />}
        </div>
      </div>
    </>
  );
}

const EXAMPLE = '{ "body": { "amount": 25000 } }';

function Playground() {
  const functions = useData<Functions>("/functions").data?.functions ?? [];
  const [who, setWho] = useState("demo/alice");
  const [kind, setKind] = useState("human");
  const [groups, setGroups] = useState("demo/support");
  const [call, setCall] = useState("");
  const [input, setInput] = useState(EXAMPLE);
  const [answer, setAnswer] = useState<Answer | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  const asked = call || functions[0]?.id || "";
  const ask = async () => {
    setAnswer(null);
    setProblem(null);
    try {
      const [issuer, ...subject] = who.split("/");
      let members: unknown;
      try {
        members = input.trim() ? JSON.parse(input) : {};
      } catch {
        throw new Problem(0, "input", "The input is not JSON.");
      }
      const list = groups.split(/[\s,]+/).filter(Boolean);
      setAnswer(
        await query<Answer>("/policies/explain", { as: { issuer, subject: subject.join("/"), kind, groups: list }, call: asked, input: members }),
      );
    } catch (error) {
      setProblem(problemOf(error));
    }
  };
  return (
    <section aria-label="Playground" className="playground">
      <h2>What would be decided?</h2>
      <form
        onSubmit={(event) => {
          event.preventDefault();
          void ask();
        }}
      >
        <div className="pair">
          <label>
            Caller
            <input value={who} onChange={(event) => setWho(event.target.value)} placeholder="issuer/subject" />
          </label>
          <label>
            Kind
            <select value={kind} onChange={(event) => setKind(event.target.value)}>
              <option>human</option>
              <option>workload</option>
              <option>agent</option>
            </select>
          </label>
        </div>
        <label>
          Groups
          <input value={groups} onChange={(event) => setGroups(event.target.value)} placeholder="issuer/group, issuer/other" />
        </label>
        <label>
          Function
          <select value={asked} onChange={(event) => setCall(event.target.value)}>
            {functions.map((one) => (
              <option key={one.id}>{one.id}</option>
            ))}
          </select>
        </label>
        <label>
          Input (path, query, header, body)
          <textarea rows={6} value={input} spellCheck={false} onChange={(event) => setInput(event.target.value)} />
        </label>
        <button type="submit" className="yes">
          Decide
        </button>
      </form>
      <div aria-live="polite">
        {problem && <Trouble problem={problem} />}
        {answer && (
          <div className="answer">
            <p>
              <Outcome word={answer.decision} /> {answer.because}
            </p>
            <ul className="plain">
              {answer.matched.map((one) => (
                <li key={one.id}>
                  <span className={`effect ${one.effect}`}>{one.effect}</span> {one.id} <span className="soft">{one.place}</span>
                  {one.opened && " (opened)"}
                </li>
              ))}
              {answer.failed.map((one) => (
                <li key={one} className="bad">
                  {one}
                </li>
              ))}
              {answer.near_misses.map((one) => (
                <li key={one} className="soft">
                  near miss: {one}
                </li>
              ))}
            </ul>
            <p className="soft">{answer.evaluated} policies were evaluated; no other could match.</p>
          </div>
        )}
      </div>
    </section>
  );
}
