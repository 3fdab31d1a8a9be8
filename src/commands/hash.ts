import { createHash } from 'node:crypto'
import { text } from 'node:stream/consumers'
import { hashPassword } from '../../plugins/auth/index.ts'
import type { Command } from './command.ts'
import { CommandError } from './outcome.ts'

export const command: Command = {
  summary: 'hashes a password (or with --key, an API key) from one line of stdin',
  usage: 'sallyport hash [--key]',
  options: { key: { type: 'boolean' } },
  maxPositionals: 0,
  async run({ values }) {
    if (process.stdin.isTTY) process.stderr.write('Type it, then press Enter and Ctrl-D:\n')
    const line = (await text(process.stdin)).replace(/\r?\n$/, '')
    if (line === '')
      throw new CommandError('expected a line on stdin, got none; printf %s "$PASSWORD" | sallyport hash')
    if (/[\r\n]/.test(line))
      throw new CommandError('expected one line on stdin, got several; hash one at a time')
    const hash =
      values['key'] === true
        ? `sha256:${createHash('sha256').update(line).digest('hex')}`
        : await hashPassword(line)
    process.stdout.write(`${hash}\n`)
    return 0
  }
}
