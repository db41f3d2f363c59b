import type { Status } from "./api";
import { useData, useLive, useTitle } from "./hooks";
import { bytes, Empty, Facts, Outcome, span, Trouble, Waiting } from "./ui";

export function ConnectionsPage() {
  useTitle("Connections");
  const live = useLive();
  const { data, problem } = useData<Status>("/status", live.records);
  return (
    <>
      <h1>Connections and health</h1>
      {problem && <Trouble problem={problem} />}
      {!data && !problem && <Waiting />}
      {data && (
        <>
          <div className="tiles">
            <Tile name="calls" value={data.recording.admitting ? "admitted" : `refused: ${data.recording.blocked}`} good={data.recording.admitting} />
            <Tile name="under way" value={data.recording.open_calls} />
            <Tile name="records" value={data.recording.records.toLocaleString()} />
            <Tile name="last sync" value={`${(data.recording.last_sync_us / 1000).toFixed(1)} ms`} good={data.recording.disk_errors === 0} />
            <Tile name="free" value={bytes(data.recording.free_bytes)} />
            <Tile name="lost events" value={data.recording.lost_events} good={data.recording.lost_events === 0} />
          </div>
          <section>
            <h2>Connections</h2>
            {data.connections.some((one) => one.observes_until) && (
              <p className="trouble" role="note">
                A connection only observes: every call passes that has a verified caller, whatever functions, policies and masking say. What would have become of the calls is
                recorded with each.
              </p>
            )}
            {data.connections.length === 0 ? (
              <Empty title="No connections">
                <p>A connection is one upstream with its route, credential, functions and masking, under connections in the config.</p>
              </Empty>
            ) : (
              <div className="scroll" tabIndex={0} role="region" aria-label="Connections">
                <table>
                  <thead>
                    <tr>
                      <th scope="col">Connection</th>
                      <th scope="col">Route</th>
                      <th scope="col">Upstream</th>
                      <th scope="col" className="num">
                        Functions
                      </th>
                      <th scope="col" className="num">
                        Masked
                      </th>
                      <th scope="col">Credential</th>
                      <th scope="col" className="num">
                        Holds
                      </th>
                    </tr>
                  </thead>
                  <tbody>
                    {data.connections.map((one) => (
                      <tr key={one.name}>
                        <th scope="row">
                          {one.name}
                          {one.observes_until && <div className="bad">only observes until {one.observes_until}: nothing is enforced</div>}
                        </th>
                        <td>
                          <code>{one.route}</code>
                        </td>
                        <td>
                          <code>{one.origin}</code>
                        </td>
                        <td className="num">{one.functions}</td>
                        <td className="num">{one.masked}</td>
                        <td>{one.credential ?? <span className="soft">none</span>}</td>
                        <td className="num">{one.hold_s} s</td>
                      </tr>
                    ))}
                  </tbody>
                </table>
              </div>
            )}
          </section>
          <section>
            <h2>Issuers</h2>
            <ul className="plain issuers">
              {data.issuers.map((one) => (
                <li key={one.alias}>
                  <strong>{one.alias}</strong> <Outcome word={one.usable ? "ok" : "unusable"} />{" "}
                  <span className="soft">
                    {one.keys} keys{one.age_s !== null && `, fetched ${span(one.age_s * 1000)} ago`}
                    {!one.reachable && `; the last fetch failed: ${one.last_error ?? "unknown"}`}
                  </span>
                </li>
              ))}
            </ul>
          </section>
          <Facts
            facts={[
              ["version", data.version],
              ["instance", <code>{data.instance}</code>],
              ["config", <code>{data.config_version}</code>],
            ]}
          />
        </>
      )}
    </>
  );
}

export function Tile({ name, value, good }: { name: string; value: string | number; good?: boolean }) {
  return (
    <div className={good === false ? "tile bad" : "tile"}>
      <span className="soft">{name}</span>
      <strong>{value}</strong>
    </div>
  );
}
