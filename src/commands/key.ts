import { createHash, randomBytes } from 'node:crypto'
import { wall } from '../lib/clock.ts'
import { listOption, readCallers, writeCallers, wrongAction } from './callers-file.ts'
import type { Command } from './command.ts'
import { UsageError } from './outcome.ts'
import { JSON_OPTION, printJson } from './print-json.ts'

export const command: Command = {
  summary: 'makes an API key, adds its hash, and prints the key once',
  usage:
    'sallyport key add ID [--file keys.json] [--roles a,b] [--scopes a,b] [--expires 2027-01-01] [--json]',
  options: {
    file: { type: 'string', short: 'f', value: 'FILE', default: 'keys.json', about: 'the file of API keys' },
    roles: { type: 'string', value: 'a,b', about: 'the roles of the caller' },
    scopes: { type: 'string', value: 'a,b', about: 'the scopes of the key' },
    expires: { type: 'string', value: 'DAY', about: 'the day on which the key ends, such as 2027-01-01' },
    json: JSON_OPTION
  },
  positionals: [['add'], 'ID'],
  async run({ positionals: [action, id], values }) {
    if (action !== 'add' || id === undefined) throw new UsageError(wrongAction(action, command))
    if (id === '') throw new UsageError('expected an ID that names the caller, got ""')
    const { expires } = values
    if (expires !== undefined && !/^\d{4}-\d{2}-\d{2}$/.test(String(expires)))
      throw new UsageError(`expected a day such as 2027-01-01, got "${String(expires)}"`)
    if (expires !== undefined && !(Date.parse(String(expires)) > wall()))
      throw new UsageError(`expected a day to come after --expires, got "${String(expires)}"`)
    const file = String(values['file'])
    const keys = await readCallers(file, 'id')
    const key = randomBytes(32).toString('base64url')
    const roles = listOption(values['roles'])
    const scopes = listOption(values['scopes'])
    const hash = `sha256:${createHash('sha256').update(key).digest('hex')}`
    await writeCallers(file, [
      ...keys,
      {
        id,
        key: hash,
        ...(roles.length > 0 ? { roles } : {}),
        ...(scopes.length > 0 ? { scopes } : {}),
        ...(expires === undefined ? {} : { expires })
      }
    ])
    if (values['json'] === true) {
      printJson({ id, file, key })
      return 0
    }
    process.stderr.write(`Added a key of ${id} to ${file}. It is shown only now:\n`)
    process.stdout.write(`${key}\n`)
    return 0
  }
}
