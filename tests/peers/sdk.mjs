// A vendor's SDK that puts its key into a header of its own (`x-goog-api-key`), told where to go by environment
// variables only: GOOGLE_GEMINI_BASE_URL and GEMINI_API_KEY. Prints the text of the answer.
import { GoogleGenAI } from '@google/genai'

const client = new GoogleGenAI({})
const answer = await client.models.generateContent({ model: 'any', contents: 'hello' })
console.log(answer.text)
