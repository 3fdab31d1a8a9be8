// Writes docs/reference from the schema; "npm run docs:reference" runs it after an option has changed.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { referencePages } from './reference.ts'

const folder = new URL('../docs/reference/', import.meta.url)
rmSync(folder, { recursive: true, force: true })
mkdirSync(folder)
for (const [name, text] of referencePages()) writeFileSync(new URL(name, folder), text)
