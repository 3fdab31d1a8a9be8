import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { text } from 'node:stream/consumers'
import { CommandError } from './outcome.ts'

/** Reads one line that is a secret: typed without being shown, or from stdin. Throws a CommandError if it is empty or several lines. */
export async function readSecret(prompt: string): Promise<string> {
  const line = process.stdin.isTTY ? await typed(prompt) : (await text(process.stdin)).replace(/\r?\n$/, '')
  if (line === '')
    throw new CommandError('expected a line on stdin, got none; printf %s "$PASSWORD" | sallyport hash')
  if (/[\r\n]/.test(line))
    throw new CommandError('expected one line on stdin, got several; hash one at a time')
  return line
}

function typed(prompt: string): Promise<string> {
  process.stderr.write(prompt)
  // The terminal is in raw mode, and what readline would show goes nowhere.
  const nowhere = new Writable({ write: (_chunk, _encoding, done) => done() })
  const lines = createInterface({ input: process.stdin, output: nowhere, terminal: true })
  return new Promise((resolve, reject) => {
    lines.once('line', (line) => {
      lines.close()
      process.stderr.write('\n')
      resolve(line)
    })
    lines.once('SIGINT', () => {
      lines.close()
      reject(new CommandError('\nnothing was written'))
    })
  })
}
