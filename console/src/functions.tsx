import type { Functions } from "./api";
import { useData, useLive, useTitle } from "./hooks";
import { Block, Effect, Empty, field, Link, Shares, Shown, Time, Trouble, Waiting, words } from "./ui";

export function FunctionsPage() {
  useTitle("Functions");
  const live = useLive();
  // The catalogue need not move with every call.
  const { data, problem } = useData<Functions>("/functions", Math.floor(live.records / 50));
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
      {data && data.unknown.length > 0 && (
        <section>
          <h2>Called, but not declared</h2>
          <p className="soft">These were refused. Declare what should be callable.</p>
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
