import type { TLSSocket } from 'node:tls'
import type { FastifyRequest } from 'fastify'
import type { Caller } from '../../../src/lib/caller.ts'
import type { Strategy, StrategyResult } from './strategy.ts'

// A certificate is read once per connection.
const results = new WeakMap<object, StrategyResult>()

/** Accepts client certificates issued by an authority in "tls.clientCertificates". The caller's id is the subject's common name, else its first alternative name. */
export const clientCertificateStrategy = (): Strategy => ({
  name: 'clientCertificate',
  headers: [],
  authenticate({ raw }: FastifyRequest) {
    const socket = raw.socket as Partial<TLSSocket>
    const known = results.get(socket)
    if (known !== undefined) return known
    const result = callerOf(socket)
    results.set(socket, result)
    return result
  }
})

function callerOf(socket: Partial<TLSSocket>): StrategyResult {
  const certificate = socket.getPeerCertificate?.()
  if (certificate === undefined || Object.keys(certificate).length === 0) return null
  if (socket.authorized !== true) return 'wrong'
  const { subject, issuer, subjectaltname, fingerprint256, serialNumber, valid_to } = certificate
  const names = namesIn(subjectaltname)
  const common = [subject.CN].flat()[0]
  const id = common ?? names[0]?.value
  if (id === undefined || id === '') return 'wrong'
  const email = names.find(({ kind }) => kind === 'email')?.value
  const claims: Record<string, unknown> = {
    cn: common,
    o: subject.O,
    ou: subject.OU,
    issuer: issuer.CN,
    san: names.map(({ value }) => value),
    fingerprint: fingerprint256,
    serial: serialNumber,
    ends: valid_to
  }
  const caller: Caller = {
    id,
    issuer: Object.entries(issuer).flat(2).join(' '),
    ...(common === undefined ? {} : { name: common }),
    ...(email === undefined ? {} : { email }),
    roles: [],
    scopes: [],
    claims: Object.fromEntries(Object.entries(claims).filter(([, value]) => value !== undefined)),
    by: 'clientCertificate'
  }
  return caller
}

/** Reads the alternative names of a certificate, such as "DNS:a.example, URI:spiffe://b, email:c@d" (RFC 5280 section 4.2.1.6). Returns none if one is quoted: a quoted name may contain text that reads like another (CVE-2021-44532). */
function namesIn(text: string | undefined): { kind: string; value: string }[] {
  if (text === undefined || text.includes('"')) return []
  return text.split(', ').map((name) => {
    const at = name.indexOf(':')
    return { kind: name.slice(0, at), value: name.slice(at + 1) }
  })
}
