import { dataEnv, integer } from '@docmesh/service'

export const env = {
  ...dataEnv,
  concurrency: integer('ANALYSIS_CONCURRENCY', {
    fallback: '4',
    min: 1,
    max: 256,
    doc: 'Analyses that one instance runs at the same time.',
  }),
} as const
