// Calls as stock JavaScript clients send them, all at once; the vendors' SDKs are told a base URL and a key, no more.
// Reads a list of {client, url, token, prefer} from standard input; writes for each whether the client takes the answer
// for success, and what it then knows of it.
import Anthropic from '@anthropic-ai/sdk'
import axios from 'axios'
import OpenAI from 'openai'

const messages = [{ role: 'user', content: 'hello' }]

const clients = {
  async fetch({ url, token, headers }) {
    const sent = { ...headers, authorization: `Bearer ${token}`, 'content-type': 'application/json' }
    const answer = await fetch(url, { method: 'POST', headers: sent, body: '{"model":"any"}' })
    const text = await answer.text()
    return { good: answer.ok, text }
  },
  async axios({ url, token, headers }) {
    const sent = { ...headers, authorization: `Bearer ${token}` }
    const answer = await axios.post(url, { model: 'any' }, { headers: sent, proxy: false })
    return { good: true, text: JSON.stringify(answer.data) }
  },
  async openai({ url, token, headers }) {
    const client = new OpenAI({ baseURL: url, apiKey: token })
    const answer = await client.chat.completions.create({ model: 'any', messages }, { headers })
    return { good: true, text: JSON.stringify(answer) }
  },
  async anthropic({ url, token, headers }) {
    const client = new Anthropic({ baseURL: url, authToken: token, apiKey: null })
    const answer = await client.messages.create({ model: 'any', max_tokens: 16, messages }, { headers })
    return { good: true, text: JSON.stringify(answer) }
  },
}

const call = async (cell) => {
  const headers = cell.prefer ? { prefer: cell.prefer } : {}
  try {
    return await clients[cell.client]({ ...cell, headers })
  } catch (error) {
    // What the client itself offers: axios the answer, the SDKs a code and a message.
    const known = error.response?.data ?? { code: error.code, message: error.message }
    return { good: false, text: JSON.stringify(known) }
  }
}

let text = ''
for await (const chunk of process.stdin) text += chunk
console.log(JSON.stringify(await Promise.all(JSON.parse(text).map(call))))
