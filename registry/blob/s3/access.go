package s3

import "context"

// Access says with what a bucket is reached.
type Access struct {
	Region      string // where the bucket is looked for, or was found
	Credentials string // where they come from, such as "EnvConfigCredentials", and never they themselves; "" when there are none
}

// Access returns with what the bucket is reached, as far as that is known: after a request, the
// region is the bucket's.
func (s *Store) Access(ctx context.Context) Access {
	a := Access{Region: s.clients.Load().region}
	if s.authenticate(ctx) != nil {
		return a
	}
	if found, err := s.config.Credentials.Retrieve(ctx); err == nil {
		a.Credentials = found.Source
	}
	return a
}
