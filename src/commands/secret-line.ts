import { isUtf8 } from 'node:buffer'
import { createInterface } from 'node:readline'
import { Writable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { CommandError } from './outcome.ts'

/** Reads one line that is a secret: typed without being shown, or from stdin. Throws a CommandError if it is empty or several lines; `piped` is the command that would read it from a pipe. */
export async function readSecret(prompt: string, piped: string): Promise<string> {
  return secretIn(process.stdin.isTTY ? Buffer.from(await typed(prompt)) : await buffer(process.stdin), piped)
}

/** Returns the secret in the bytes of one line, without a byte order mark, which editors add and is no part of the secret. */
export function secretIn(bytes: Buffer, piped: string): string {
  if (!isUtf8(bytes)) throw new CommandError('expected UTF-8 on stdin, got another encoding')
  const line = bytes
    .toString('utf8')
    .replace(/^\uFEFF/, '')
    .replace(/\r?\n$/, '')
  if (line === '')
    throw new CommandError(`expected a line on stdin, got none; printf %s "$PASSWORD" | ${piped}`)
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
