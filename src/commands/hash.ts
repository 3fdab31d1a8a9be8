import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { hashPassword } from '../../plugins/auth/index.ts'
import type { Command } from '../main.ts'
import { CommandError } from './outcome.ts'

export const command: Command = {
  summary: 'hashes a password (or with --key, an API key) from one line of stdin',
  usage: 'sallyport hash [--key]',
  options: { key: { type: 'boolean' } },
  words: 0,
  async run({ values }) {
    if (process.stdin.isTTY) process.stderr.write('Type it, then Enter and Ctrl-D:\n')
    const line = (await text(process.stdin)).replace(/\r?\n$/, '')
    if (line === '')
      throw new CommandError('There is nothing on stdin to hash; printf %s "$PASSWORD" | sallyport hash')
    if (/[\r\n]/.test(line))
      throw new CommandError('There is more than one line on stdin; one is hashed at a time')
    const made =
      values['key'] === true
        ? `sha256:${createHash('sha256').update(line).digest('hex')}`
        : await hashPassword(line)
    process.stdout.write(`${made}\n`)
    return 0
  }
}
