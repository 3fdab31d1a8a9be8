import { hashPassword } from '../../plugins/auth/index.ts'
import { listOption, readCallers, writeCallers, wrongAction } from './callers-file.ts'
import type { Command } from './command.ts'
import { CommandError, UsageError } from './outcome.ts'
import { JSON_OPTION, printJson } from './print-json.ts'
import { readSecret } from './secret-line.ts'

export const command: Command = {
  summary: 'adds a user, with a password that you type or pipe in',
  usage: 'sallyport user add NAME [--file users.json] [--roles a,b] [--email MAIL] [--json]',
  options: {
    file: { type: 'string', short: 'f', value: 'FILE', default: 'users.json', about: 'the file of users' },
    roles: { type: 'string', value: 'a,b', about: 'the roles of the user' },
    email: { type: 'string', value: 'MAIL', about: 'the email address of the user' },
    json: JSON_OPTION
  },
  positionals: [['add'], 'NAME'],
  async run({ positionals: [action, name], values }) {
    if (action !== 'add' || name === undefined) throw new UsageError(wrongAction(action, command))
    // HTTP Basic ends the name at a colon (RFC 7617 section 2).
    if (!/^[^:\p{Cc}]+$/u.test(name))
      throw new UsageError(
        `expected a name without colons and control characters, got ${JSON.stringify(name)}`
      )
    const file = String(values['file'])
    const users = await readCallers(file, 'name')
    if (users.some((user) => user['name'] === name))
      throw new CommandError(
        `There is a user "${name}" in ${file} already; remove the entry first to change it`
      )
    const password = await hashPassword(
      await readSecret(`Password of ${name}: `, `sallyport user add ${name}`)
    )
    const roles = listOption(values['roles'])
    const { email } = values
    await writeCallers(file, [
      ...users,
      { name, password, ...(roles.length > 0 ? { roles } : {}), ...(email === undefined ? {} : { email }) }
    ])
    if (values['json'] === true) printJson({ name, file })
    else process.stdout.write(`Added ${name} to ${file}.\n`)
    return 0
  }
}
