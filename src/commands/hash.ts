import { createHash } from 'node:crypto'
import { hashPassword } from '../../plugins/auth/index.ts'
import type { Command } from './command.ts'
import { JSON_OPTION, printJson } from './print-json.ts'
import { readSecret } from './secret-line.ts'

export const command: Command = {
  summary: 'hashes a password (or with --key, an API key) from one line of stdin',
  usage: 'sallyport hash [--key] [--json]',
  options: {
    key: { type: 'boolean', about: 'hashes an API key, with SHA-256' },
    json: JSON_OPTION
  },
  positionals: [],
  async run({ values }) {
    const line = await readSecret('The password or key: ', 'sallyport hash')
    const hash =
      values['key'] === true
        ? `sha256:${createHash('sha256').update(line).digest('hex')}`
        : await hashPassword(line)
    if (values['json'] === true) printJson({ hash })
    else process.stdout.write(`${hash}\n`)
    return 0
  }
}
