import type { Argument, Command } from '../command.ts'
import { optionNames } from './words.ts'

/** Returns the completion script of bash, from version 3.2 on. */
export function bashCompletion(commands: ReadonlyMap<string, Command>): string {
  const options = optionsWithValue(commands)
  const valueCases = options.map(({ pattern, value }) => `    ${pattern}) ${reply(value)}return ;;`)
  const positionalCases = [...commands].flatMap(([name, { positionals, variadic }]) => [
    ...positionals.map((argument, i) => `    '${name} ${i}') ${reply(argument)};;`),
    ...(variadic === undefined ? [] : [`    '${name} '*) ${reply(variadic)};;`])
  ])
  const optionCases = [...commands].map(
    ([name, command]) => `        ${name}) ${replyWith(['--help', ...optionNames(command)])};;`
  )
  const run = commands.get('run')
  const first = ['--help', '--version', ...(run === undefined ? [] : optionNames(run))]
  return `\
# Completes sallyport in bash: source <(sallyport completion bash)
_sallyport() {
  local current=\${COMP_WORDS[COMP_CWORD]} previous=\${COMP_WORDS[COMP_CWORD-1]} command=run first=1 position=0 i
  COMPREPLY=()
  # bash splits --option=value into three words.
  if [ "$current" = = ]; then current=
  elif [ "$previous" = = ]; then previous=\${COMP_WORDS[COMP_CWORD-2]}; fi
  case \${COMP_WORDS[1]} in
    -*) ;;
    *) if [ "$COMP_CWORD" -gt 1 ]; then command=\${COMP_WORDS[1]} first=2; fi ;;
  esac
  # Without a reply, bash completes files.
  case "$command $previous" in
${valueCases.join('\n')}
  esac
  for ((i = first; i < COMP_CWORD; i++)); do
    case \${COMP_WORDS[i]} in -* | =) continue ;; esac
    case "$command \${COMP_WORDS[i-1]}" in
      *' =' | ${options.map(({ pattern }) => pattern).join(' | ')}) ;;
      *) position=$((position + 1)) ;;
    esac
  done
  case "$COMP_CWORD $current" in
    '1 -'*) ${replyWith(first)}return ;;
    '1 '*) ${replyWith([...commands.keys()])}return ;;
    *' -'*)
      case $command in
${optionCases.join('\n')}
      esac
      return ;;
  esac
  case "$command $position" in
${positionalCases.join('\n')}
  esac
}
complete -o default -F _sallyport sallyport
`
}

interface OptionWithValue {
  /** Matches the command and the option. */
  readonly pattern: string
  readonly value: Argument
}

function optionsWithValue(commands: ReadonlyMap<string, Command>): OptionWithValue[] {
  const found: OptionWithValue[] = []
  for (const [name, { options }] of commands)
    for (const [long, option] of Object.entries(options)) {
      if (option.type === 'boolean') continue
      const patterns = [`'${name} --${long}'`]
      if (option.short !== undefined) patterns.push(`'${name} -${option.short}'`)
      found.push({ pattern: patterns.join(' | '), value: option.value })
    }
  return found
}

function reply(argument: Argument): string {
  if (typeof argument !== 'string') return replyWith(argument)
  return argument === 'DIR' ? 'COMPREPLY=($(compgen -d -- "$current")); ' : ''
}

const replyWith = (words: readonly string[]): string =>
  `COMPREPLY=($(compgen -W '${words.join(' ')}' -- "$current")); `
