import pretty from 'pino-pretty'

// Fields that the message has already, or that only programs read.
const IGNORED =
  'host,port,descriptors,faults,requestId,method,path,route,status,durationMs,upstream,target,upstreamMs,bytesIn,bytesOut,ip'

// Some terminals take these characters, which a client may send in a path, for the start of a command. JSON escapes the
// others.
const CONTROL_CHARACTERS = /[\x7f-\x9f]/g

/** Returns how to turn a JSON line of the log into text for people. */
export function prettyLines(colorize: boolean): (line: string) => string {
  const format = pretty.prettyFactory({ colorize, singleLine: true, ignore: IGNORED, messageFormat })
  return (line) => format(line.replaceAll(CONTROL_CHARACTERS, '?'))
}

function messageFormat(line: Record<string, unknown>, messageKey: string): string {
  const { status, method, path, durationMs, upstream, ip, faults } = line
  if (method === undefined)
    return [line[messageKey] ?? '', ...(Array.isArray(faults) ? faults : [])].map(String).join('\n    ')
  return `${String(status)} ${String(method)} ${String(path)} ${String(durationMs)} ms${upstream === undefined ? '' : ` by ${String(upstream)}`} for ${String(ip)}`
}
