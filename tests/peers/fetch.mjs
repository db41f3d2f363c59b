// Node's own fetch. BASE_URL and TOKEN come from the environment.
//   node fetch.mjs PATH [JSON]
const [path, body] = process.argv.slice(2)
const headers = { authorization: `Bearer ${process.env.TOKEN}` }
if (body) headers['content-type'] = 'application/json'
const answer = await fetch(process.env.BASE_URL + path, { method: body ? 'POST' : 'GET', headers, body })
const call = answer.headers.get('callgate-call')
console.log(JSON.stringify({ status: answer.status, call, body: await answer.json() }))
