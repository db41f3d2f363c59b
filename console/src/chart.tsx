import type { Chart } from "./api";
import { useData, useSlowly } from "./hooks";
import { tone, Trouble } from "./ui";

const WIDE = 480;
const HIGH = 64;
const TONES = ["good", "waits", "bad"] as const;
const NAMES: Record<string, string> = { good: "answered", waits: "waiting or open", bad: "refused or failed" };

/** Calls over time, and how long they took: to see at a glance, and as a table for who does not see it. */
export function Charts({ functionId, lastS, records }: { functionId: string; lastS: number; records: number }) {
  const { data, problem } = useData<Chart>(`/calls/chart?last_s=${lastS}${functionId && `&function=${encodeURIComponent(functionId)}`}`, useSlowly(records, 15_000));
  if (problem) return <Trouble problem={problem} />;
  if (!data || data.looked_at === 0) return null;
  const from = new Date(data.from).getTime();
  const columns = data.columns.map((column, index) => {
    const sums = { good: 0, waits: 0, bad: 0 };
    for (const [outcome, count] of Object.entries(column.outcomes)) sums[tone(outcome)] += count;
    return { ...column, ...sums, at: new Date(from + index * data.step_s * 1000), all: sums.good + sums.waits + sums.bad };
  });
  const most = Math.max(1, ...columns.map((column) => column.all));
  const slowest = Math.max(1, ...columns.map((column) => column.p95_ms ?? 0));
  const width = WIDE / columns.length;
  const when = (at: Date) => at.toLocaleString([], { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit", hour12: false });
  const first = columns[0];
  const last = columns.at(-1);
  if (!first || !last) return null;
  const line = (value: (column: (typeof columns)[number]) => number | null) =>
    columns.map((column, index) => ({ x: (index + 0.5) * width, value: value(column) })).filter((point) => point.value !== null);
  const path = (points: { x: number; value: number | null }[]) =>
    points.map(({ x, value }, index) => `${index === 0 ? "M" : "L"}${x.toFixed(1)} ${(HIGH - ((value ?? 0) / slowest) * (HIGH - 4)).toFixed(1)}`).join("");
  const sums = TONES.map((one) => [one, columns.reduce((sum, column) => sum + column[one], 0)] as const);
  return (
    <section className="charts" aria-label="Calls over time">
      <figure>
        <figcaption>
          <strong>Calls</strong>{" "}
          {sums.map(([one, count]) => (
            <span key={one} className={`key ${one}`}>
              {count} {NAMES[one]}
            </span>
          ))}
          {!data.complete && <span className="soft"> of the newest {data.looked_at}: there are more</span>}
        </figcaption>
        <svg viewBox={`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" role="img" aria-labelledby="calls-title calls-desc">
          <title id="calls-title">Calls by outcome over time</title>
          <desc id="calls-desc">{`${sums.map(([one, count]) => `${count} ${NAMES[one]}`).join(", ")}, from ${when(first.at)}; at most ${most} in ${spell(data.step_s)}`}</desc>
          {columns.map((column, index) => {
            let y = HIGH;
            return TONES.map((one) => {
              const high = (column[one] / most) * (HIGH - 2);
              y -= high;
              return high > 0 && <rect key={`${index}${one}`} className={one} x={index * width + 0.5} y={y} width={width - 1} height={high} />;
            });
          })}
        </svg>
      </figure>
      <figure>
        <figcaption>
          <strong>Milliseconds</strong> <span className="key p50">half within</span>
          <span className="key p95">95 of 100 within</span>
          <span className="soft">up to {slowest} ms; without waiting for people</span>
        </figcaption>
        <svg viewBox={`0 0 ${WIDE} ${HIGH}`} preserveAspectRatio="none" role="img" aria-labelledby="took-title took-desc">
          <title id="took-title">How long calls took over time</title>
          <desc id="took-desc">{`At most ${slowest} milliseconds for 95 of 100 calls in ${spell(data.step_s)}; the table has the numbers`}</desc>
          <path className="p95" d={path(line((column) => column.p95_ms))} />
          <path className="p50" d={path(line((column) => column.p50_ms))} />
          {columns.map((column, index) => column.p95_ms !== null && <circle key={index} className="p95" cx={(index + 0.5) * width} cy={HIGH - (column.p95_ms / slowest) * (HIGH - 4)} r={1.6} />)}
        </svg>
      </figure>
      <details>
        <summary className="soft">
          From {when(first.at)}, {spell(data.step_s)} a column; as a table
        </summary>
        <div className="scroll" tabIndex={0} role="region" aria-label="Calls over time as a table">
          <table>
            <thead>
              <tr>
                <th scope="col">From</th>
                {TONES.map((one) => (
                  <th key={one} scope="col" className="num">
                    {NAMES[one]}
                  </th>
                ))}
                <th scope="col" className="num">
                  half within, ms
                </th>
                <th scope="col" className="num">
                  95 % within, ms
                </th>
              </tr>
            </thead>
            <tbody>
              {columns
                .filter((column) => column.all > 0)
                .map((column) => (
                  <tr key={column.at.getTime()}>
                    <th scope="row">{when(column.at)}</th>
                    {TONES.map((one) => (
                      <td key={one} className="num">
                        {column[one]}
                      </td>
                    ))}
                    <td className="num">{column.p50_ms ?? "—"}</td>
                    <td className="num">{column.p95_ms ?? "—"}</td>
                  </tr>
                ))}
            </tbody>
          </table>
        </div>
      </details>
    </section>
  );
}

function spell(step_s: number): string {
  return step_s % 3600 === 0 ? `${step_s / 3600} h` : step_s % 60 === 0 ? `${step_s / 60} min` : `${step_s} s`;
}
