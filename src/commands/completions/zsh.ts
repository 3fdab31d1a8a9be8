import { type Argument, argumentName, type Command, type CommandOption } from '../command.ts'
import { quote } from './words.ts'

/** Returns the completion script of zsh. */
export function zshCompletion(commands: ReadonlyMap<string, Command>): string {
  const names = [...commands].map(([name, { summary }]) => `    ${quote(`${name}:${summary}`)}`)
  const cases = [...commands].map(([name, command]) => `    ${name}) _arguments -s ${specsOf(command)} ;;`)
  return `\
#compdef sallyport
# Completes sallyport in zsh: source <(sallyport completion zsh), or save it as _sallyport in a folder of $fpath
_sallyport() {
  local -a commands
  commands=(
${names.join('\n')}
  )
  if ((CURRENT == 2)); then
    if [[ $PREFIX == -* ]]; then _arguments '--help[prints all commands]' '--version[prints the version]' ${optionSpecs(commands.get('run'))}
    else _describe command commands; fi
    return
  fi
  local command=run
  if [[ $words[2] != -* ]]; then
    command=$words[2]
    shift words
    ((CURRENT--))
  fi
  case $command in
${cases.join('\n')}
  esac
}
if [[ $funcstack[1] == _sallyport ]]; then _sallyport "$@"; else compdef _sallyport sallyport; fi
`
}

const specsOf = (command: Command): string =>
  [
    "'--help[prints the usage]'",
    optionSpecs(command),
    ...command.positionals.map((argument) => quote(`:${argumentSpec(argument)}`)),
    command.variadic === undefined ? '' : quote(`*:${argumentSpec(command.variadic)}`)
  ]
    .filter((spec) => spec !== '')
    .join(' ')

const optionSpecs = (command: Command | undefined): string =>
  Object.entries(command?.options ?? {})
    .map(([name, option]) => optionSpec(name, option))
    .join(' ')

function optionSpec(name: string, option: CommandOption): string {
  const about = `[${option.about.replaceAll(/[[\]\\]/g, '\\$&')}]`
  const value = option.type === 'boolean' ? '' : `:${argumentSpec(option.value)}`
  const spec = quote(`${about}${value}`)
  const repeats = option.type === 'string' && option.multiple === true
  if (option.short === undefined) return `${repeats ? "'*'" : ''}--${name}${spec}`
  const names = `{-${option.short},--${name}}`
  return repeats ? `'*'${names}${spec}` : `'(-${option.short} --${name})'${names}${spec}`
}

function argumentSpec(argument: Argument): string {
  const name = argumentName(argument).replaceAll(':', '\\:')
  if (typeof argument !== 'string') return `${name}:(${argument.join(' ')})`
  return argument === 'FILE' ? `${name}:_files` : argument === 'DIR' ? `${name}:_files -/` : `${name}: `
}
