import type { Figures, Functions, Me } from "./api";
import { useData, useLive, useSlowly, useTitle } from "./hooks";
import { Block, Effect, Empty, field, Link, Shares, Shown, span, Time, Trouble, Waiting, words } from "./ui";

export function FunctionsPage({ who }: { who: Me }) {
  useTitle("Functions");
  const live = useLive();
  // The catalogue need not move with every call.
  const { data, problem } = useData<Functions>("/functions", useSlowly(live.records, 15_000));
  return (
    <>
      <h1>Functions</h1>
      {problem && <Trouble problem={problem} />}
      {!data && !problem && <Waiting />}
      {data && data.functions.length === 0 && (
        <Empty title="No functions are declared">
          <p>
            A connection's functions come from its OpenAPI document or are written inline: <code>functions: {"{ openapi: ./payments.openapi.yaml }"}</code>. What is not
            declared is refused.
          </p>
        </Empty>
      )}
      {data && data.functions.length > 0 && (
        <>
          <p className="soft">What the newest {data.looked_at} calls tell.</p>
          <div className="scroll" tabIndex={0} role="region" aria-label="Functions">
            <table>
              <thead>
                <tr>
                  <th scope="col">Function</th>
                  <th scope="col">Effect</th>
                  <th scope="col" className="num">
                    Calls
                  </th>
                  <th scope="col">Outcomes</th>
                  <th scope="col" className="num">
                    Median ms
                  </th>
                  <th scope="col">Last seen</th>
                  <th scope="col">Callers</th>
                  <th scope="col">Masking</th>
                </tr>
              </thead>
              <tbody>
                {data.functions.map((one) => (
                  <tr key={one.id}>
                    <th scope="row">
                      <Link to={`/calls?function=${encodeURIComponent(one.id)}`}>{one.id}</Link>
                      {one.summary && <div className="soft">{one.summary}</div>}
                    </th>
                    <td>
                      <Effect effect={one.effect} />
                    </td>
                    <td className="num">{one.seen.calls}</td>
                    <td>
                      <Shares shares={one.seen.outcomes} label="outcomes" />
                    </td>
                    <td className="num">{one.seen.median_ms ?? "—"}</td>
                    <td>{one.seen.last_at ? <Time at={one.seen.last_at} /> : <span className="soft">not yet</span>}</td>
                    <td>
                      <Shown text={one.seen.callers.slice(0, 3).join(", ")} />
                      {one.seen.callers.length > 3 && ` and ${one.seen.callers.length - 3} more`}
                    </td>
                    <td>
                      {one.mask}
                      <div className="marks">
                        {Object.entries(one.seen.masked).map(([name, count]) => (
                          <mark key={name}>
                            {name} {count}
                          </mark>
                        ))}
                      </div>
                    </td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
      {who.rights.includes("audit.read") && <Deciding />}
      {data && data.unknown.length > 0 && (
        <section>
          <h2>Called, but not declared</h2>
          <p className="soft">
            These were refused. What should be callable is declared under its connection: in its OpenAPI document, or under <code>functions.inline</code> with{" "}
            <code>{"name: { method: …, path: … }"}</code>.
          </p>
          <ul className="plain">
            {data.unknown.map((one) => (
              <li key={JSON.stringify(one.tried)}>
                <Block label="what was tried" text={`${words(field(one.tried, "method"))} ${words(field(one.tried, "target"))}`} />
                <span className="soft">
                  {one.calls} times, last <Time at={one.last_at} />
                </span>
              </li>
            ))}
          </ul>
        </section>
      )}
    </>
  );
}

/** Seldom asked, or opened without a look: what owners of rules tune them by. */
const SLOW_MS = 10 * 60_000;

function share(part: number, whole: number): string {
  return whole === 0 ? "—" : `${Math.round((100 * part) / whole)} %`;
}

function Deciding() {
  const { data, problem } = useData<Figures[]>("/approvals/figures");
  return (
    <section>
      <h2>How deciding goes</h2>
      <p className="soft">
        Questions of the last 30 days. Many answers within 3 s say that people do not read: ask about less, or offer grants. A long median says that the caller waits for people
        who are not there.
      </p>
      {problem && <Trouble problem={problem} />}
      {data && data.length === 0 && (
        <Empty title="Nobody was asked">
          <p>
            An approval rule is a <code>forbid</code> with <code>@approval("group")</code>: it holds the calls that it matches until somebody decides.
          </p>
        </Empty>
      )}
      {data && data.length > 0 && (
        <div className="scroll" tabIndex={0} role="region" aria-label="How deciding goes">
          <table>
            <thead>
              <tr>
                <th scope="col">Function</th>
                <th scope="col" className="num">
                  Asked
                </th>
                <th scope="col">Answers</th>
                <th scope="col" className="num">
                  Median time to decide
                </th>
                <th scope="col" className="num">
                  Within 3 s
                </th>
                <th scope="col" className="num">
                  By grants
                </th>
              </tr>
            </thead>
            <tbody>
              {data.map((one) => {
                const decided = one.approved + one.denied - one.granted;
                const median = one.median_decision_ms;
                return (
                  <tr key={one.function}>
                    <th scope="row">{one.function}</th>
                    <td className="num">{one.asked}</td>
                    <td>
                      {one.approved + one.denied + one.expired > 0 && <Shares shares={{ approved: one.approved, denied: one.denied, expired: one.expired }} label="answers" />}
                      <span className="soft">
                        {one.approved} yes, {one.denied} no, {one.expired} too late
                      </span>
                    </td>
                    <td className={median !== null && median > SLOW_MS ? "num warns" : "num"}>{median === null ? "—" : median < 10_000 ? `${(median / 1000).toFixed(1)} s` : span(median)}</td>
                    <td className={decided >= 5 && 2 * one.rubber_stamps > decided ? "num warns" : "num"}>{share(one.rubber_stamps, decided)}</td>
                    <td className="num">{share(one.granted, one.approved)}</td>
                  </tr>
                );
              })}
            </tbody>
          </table>
        </div>
      )}
    </section>
  );
}
