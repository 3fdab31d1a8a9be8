import type { Comparison, OptionChange } from '../../src/kit/concern.ts'
import type { TlsOptions } from './options.ts'

/** How `diff` compares two resolved options: certificates may be renewed, but not who needs one. */
export const comparison: Comparison = {
  changes(before: TlsOptions | undefined, after: TlsOptions | undefined, { isSameFile }) {
    const [old, next] = [before?.clientCertificates, after?.clientCertificates]
    const found: OptionChange[] = []
    const path = ['clientCertificates']
    if (old?.required === true && next?.required !== true)
      found.push({
        class: 'widened-access',
        path: next === undefined ? path : [...path, 'required'],
        message: 'no longer requires a certificate of clients'
      })
    if (old?.required !== true && next?.required === true)
      found.push({ class: 'narrowed-access', path, message: 'requires a certificate of clients' })
    if (old !== undefined && next !== undefined && !isSameFile(old.ca, next.ca))
      found.push({
        class: 'widened-access',
        path: [...path, 'ca'],
        message: 'trusts others: client certificates of other authorities'
      })
    if (before === undefined || after === undefined)
      found.push({ class: 'exposure', path: [], message: after === undefined ? 'is off' : 'is on' })
    else if (before.minVersion !== after.minVersion)
      found.push({ class: 'exposure', path: ['minVersion'], message: 'accepts other versions of TLS' })
    return found
  },
  options: {
    certificates: 'a renewed certificate is shown to the same requests',
    acme: 'a certificate of another authority is shown to the same requests',
    redirectFrom: { class: 'exposure', message: 'redirects plain HTTP from another port, or no longer' },
    http2: { class: 'exposure', message: 'speaks other versions of HTTP to clients' }
  }
}
