// A person with a browser: opens an address, fills in whatever form is shown, and goes where it leads.
//   node oidc-browser.mjs URL PERSON
const [start, person] = process.argv.slice(2)
const jar = new Map()

async function go(url, init = {}) {
  const cookie = [...jar].map(([name, value]) => `${name}=${value}`).join('; ')
  const answer = await fetch(url, { ...init, redirect: 'manual', headers: { ...init.headers, cookie } })
  for (const line of answer.headers.getSetCookie()) {
    const [pair] = line.split(';')
    const at = pair.indexOf('=')
    jar.set(pair.slice(0, at), pair.slice(at + 1))
  }
  const location = answer.headers.get('location')
  if (answer.status >= 300 && answer.status < 400 && location) return go(new URL(location, url))
  return { url: String(url), status: answer.status, text: await answer.text() }
}

const attribute = (tag, name) => new RegExp(`\\b${name}="([^"]*)"`).exec(tag)?.[1]

let page = await go(start)
for (let step = 0; step < 8; step += 1) {
  const form = /<form[^>]*method="post"[^>]*>[\s\S]*?<\/form>/.exec(page.text)?.[0]
  if (!form) break
  const fields = new URLSearchParams()
  for (const [input] of form.matchAll(/<input[^>]*>/g)) {
    const name = attribute(input, 'name')
    if (name) fields.set(name, attribute(input, 'value') ?? person)
  }
  page = await go(new URL(attribute(form, 'action'), page.url), { method: 'POST', body: fields })
}
console.log(`${page.status} ${page.text.replace(/<style[\s\S]*?<\/style>/g, '')}`)
